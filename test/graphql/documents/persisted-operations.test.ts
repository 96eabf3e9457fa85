import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readRegisteredOperations } from '../../../src/graphql/documents/registered-operations.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { startGraphQL } from '../harness.ts'

const QUERY = '{ __typename }'
const RESULT = { data: { __typename: 'Query' } }
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const persisted = (text: string) => ({ persistedQuery: { version: 1, sha256Hash: sha256(text) } })
const registeredDocuments = new Map([
  ['chart', '{ metric(name: "latency") { name } }'],
  [sha256(QUERY), QUERY],
])

describe('optional', () => {
  test('a document is sent once, then its hash is enough, by POST and GET', async () => {
    const graphql = startGraphQL()
    const first = await graphql.post({ extensions: persisted(QUERY) })
    expect(first.statusCode).toBe(200)
    expect(first.json()).toEqual({
      errors: [{ message: 'PersistedQueryNotFound', extensions: { code: 'PERSISTED_QUERY_NOT_FOUND' } }],
    })
    expect((await graphql.post({ query: QUERY, extensions: persisted(QUERY) })).json()).toEqual(RESULT)
    expect((await graphql.post({ extensions: persisted(QUERY) })).json()).toEqual(RESULT)
    expect((await graphql.get({ extensions: JSON.stringify(persisted(QUERY)) })).json()).toEqual(RESULT)
  })

  test('a document with a wrong hash is refused and not stored', async () => {
    const graphql = startGraphQL()
    const forged = { query: '{ metrics { nodes { name } } }', extensions: persisted(QUERY) }
    const response = await graphql.post(forged)
    expect(response.statusCode).toBe(400)
    expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'INVALID_BODY' } }] })
    expect((await graphql.post({ extensions: persisted(QUERY) })).json().errors).toHaveLength(1)
  })

  test('stored documents are limited in total length', async () => {
    const graphql = startGraphQL({}, { sentDocumentCharsMax: 100 })
    const texts = Array.from({ length: 10 }, (_, i) => `{ a${i}: __typename }`)
    for (const query of texts) await graphql.post({ query, extensions: persisted(query) })
    const known = await Promise.all(texts.map((query) => graphql.post({ extensions: persisted(query) })))
    expect(known.map((response) => response.json().errors === undefined)).toEqual([
      ...Array.from({ length: 5 }, () => false),
      ...Array.from({ length: 5 }, () => true),
    ])
  })

  test('registered documents need not be sent, by hash or by id', async () => {
    const graphql = startGraphQL({}, { registeredDocuments })
    expect((await graphql.post({ extensions: persisted(QUERY) })).json()).toEqual(RESULT)
    expect((await graphql.post({ documentId: 'chart' })).json()).toEqual({ data: { metric: { name: 'latency' } } })
    expect((await graphql.get({ documentId: 'chart' })).statusCode).toBe(200)
    expect((await graphql.post({ query: QUERY })).json()).toEqual(RESULT)
  })

  test.each([[{}], [{ extensions: {} }], [{ extensions: { persistedQuery: {} } }], [{ documentId: 7 }]])(
    'a request that names no document is 400: %j',
    async (body) => {
      const response = await startGraphQL().post(body)
      expect(response.statusCode).toBe(400)
      expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'INVALID_BODY' } }] })
    },
  )
})

describe('enforced', () => {
  const graphql = startGraphQL({}, { mode: 'enforced', registeredDocuments })

  test.each([
    ['by id', { documentId: 'chart' }],
    ['by hash', { extensions: persisted(QUERY) }],
    ['by hash and text', { query: QUERY, extensions: persisted(QUERY) }],
    ['by text', { query: QUERY }],
  ])('registered operations run %s', async (_how, body) => {
    expect((await graphql.post(body)).json().data).toBeTypeOf('object')
  })

  test.each([
    ['a text', { query: '{ metrics { nodes { name } } }' }],
    ['an id', { documentId: 'other' }],
    ['a hash', { extensions: persisted('{ metrics { nodes { name } } }') }],
    ['another text under an id', { documentId: 'chart', query: '{ metrics { nodes { name } } }' }],
  ])('nothing else runs: %s', async (_what, body) => {
    const response = await graphql.post(body)
    expect(response.statusCode).toBe(403)
    expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'FORBIDDEN' } }] })
  })
})

test('when persisted operations are off, clients always send the document', async () => {
  const graphql = startGraphQL({}, { mode: 'off' })
  expect((await graphql.post({ extensions: persisted(QUERY) })).json()).toEqual({
    errors: [{ message: 'PersistedQueryNotSupported', extensions: { code: 'PERSISTED_QUERY_NOT_SUPPORTED' } }],
  })
  expect((await graphql.post({ query: QUERY, extensions: persisted(QUERY) })).json()).toEqual(RESULT)
})

describe('registered operations are read from', () => {
  test('a folder of documents and manifests', async () => {
    const folder = join(await temporaryFolder(), 'operations')
    await mkdir(folder)
    await writeFile(join(folder, 'a.graphql'), QUERY)
    await writeFile(join(folder, 'b.json'), JSON.stringify({ one: '{ a: __typename }' }))
    await writeFile(
      join(folder, 'c.json'),
      JSON.stringify({
        format: 'apollo-persisted-query-manifest',
        version: 1,
        operations: [{ id: 'two', name: 'B', type: 'query', body: 'query B { __typename }' }],
      }),
    )
    await writeFile(join(folder, 'README.md'), 'nothing')
    expect(await readRegisteredOperations(folder)).toEqual(
      new Map([
        [sha256(QUERY), QUERY],
        ['one', '{ a: __typename }'],
        ['two', 'query B { __typename }'],
      ]),
    )
    expect(await readRegisteredOperations(join(folder, 'b.json'))).toEqual(new Map([['one', '{ a: __typename }']]))
  })

  test('nowhere when no path is given', async () => {
    expect(await readRegisteredOperations('')).toEqual(new Map())
  })

  test.each([
    '[]',
    '[{"id":"a","body":"{ __typename }"}]',
    '7',
    '"{ __typename }"',
    'null',
    '{"a":7}',
    '{"operations":[{"id":"a"}]}',
    '{',
  ])('not from %s, also beside other files: the error names the file', async (text) => {
    const folder = await temporaryFolder()
    const file = join(folder, 'manifest.json')
    await writeFile(file, text)
    await writeFile(join(folder, 'a.graphql'), QUERY)
    await expect(readRegisteredOperations(file)).rejects.toThrow(file)
    await expect(readRegisteredOperations(folder)).rejects.toThrow(file)
  })

  test('not from a file or a folder without any', async () => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'empty.json'), '{}')
    await expect(readRegisteredOperations(folder)).rejects.toThrow('has no operations')
  })
})
