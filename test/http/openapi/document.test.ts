import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ERROR_CODES } from '../../../src/http/response/error-status.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'
import { snappyLiterals } from '../../support/remote-write.ts'

type Document = {
  readonly openapi: string
  readonly paths: Record<
    string,
    Record<
      string,
      {
        operationId: string
        parameters?: readonly { name: string; schema: { enum?: readonly string[] } }[]
        requestBody?: { content: object }
        responses: Record<string, { description: string; content?: object }>
      }
    >
  >
  readonly components: {
    readonly schemas: Record<string, { enum?: readonly string[]; properties?: object; required?: readonly string[] }>
  }
}

/** An empty object in each encoding; no route accepts zstd. */
const BODY_BY_ENCODING = {
  identity: '{}',
  gzip: gzipSync('{}'),
  deflate: deflateSync('{}'),
  br: brotliCompressSync('{}'),
  zstd: '{}',
  snappy: Uint8Array.from(snappyLiterals(Buffer.from('{}'))),
}

let gateway: TestGateway
let document: Document

beforeAll(async () => {
  gateway = await startGateway()
  const response = await fetch(`${gateway.url}/openapi.json`)
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8'])
  document = (await response.json()) as Document
})

afterAll(() => gateway.close())

describe('the OpenAPI document', () => {
  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    expect(await validator.validate(structuredClone(document))).toMatchObject({ valid: true })
    expect(validator.version).toBe('3.1')
    const broken = structuredClone(document)
    Object.assign(broken.paths['/health']!['get']!, { responses: 'none' })
    expect(await new Validator().validate(broken)).toMatchObject({ valid: false })
  })

  it('has every route', () => {
    const undescribed = gateway.routes.filter(({ operation }) => operation === undefined)
    expect(undescribed.map(({ method, path }) => `${method} ${path}`)).toEqual([])
    expect(gateway.routes.length).toBeGreaterThan(15)
    for (const { method, path, operation } of gateway.routes) {
      // Fastify adds a HEAD route to GET routes; the document leaves it out.
      const operations = document.paths[path.replaceAll(/:(\w+)/g, '{$1}')]!
      const documented = operations[method.toLowerCase()] ?? (method === 'HEAD' ? operations['get'] : undefined)
      expect(documented?.operationId, `${method} ${path}`).toBe(operation!.id)
    }
  })

  it('names every operation once', () => {
    const ids = Object.values(document.paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    )
    expect(new Set(ids).size).toBe(ids.length)
    expect(new Set(ids)).toEqual(new Set(gateway.routes.map(({ operation }) => operation!.id)))
  })

  it('lists every error code, each in at least one response', () => {
    expect(document.components.schemas['ErrorCode']?.enum).toEqual(ERROR_CODES)
    const responses = Object.values(document.paths).flatMap((path) =>
      Object.values(path).map(({ responses }) => responses),
    )
    const descriptions = responses
      .flatMap((byStatus) => Object.values(byStatus).map(({ description }) => description))
      .join(' ')
    expect(ERROR_CODES.filter((code) => !descriptions.includes(`\`${code}\``))).toEqual([])
  })

  it('describes responses without an error code, also those that share their status with one', () => {
    const description = (path: string, status: string) => document.paths[path]?.['post']?.responses[status]?.description
    expect(description('/api/v1/write', '400')).toBe(
      'Some samples cannot be stored; the others are. Or: `invalid_body`',
    )
    expect(description('/metrics', '406')).toBe(
      'The body cannot be decoded; nothing is stored. Or: `unsupported_media_type`',
    )
  })

  it.each([
    ['/api/v1/metrics', '/api/v1/metrics', ['type=x', 'limit=0', `after=${'x'.repeat(1_000)}`]],
    [
      '/api/v1/metrics/{name}/query',
      '/api/v1/metrics/m/query',
      ['from=soon', 'aggregation=x', 'interval=x', 'timezone=x', 'group_by=x', 'tags=x', 'fill=x', 'format=x'],
    ],
    ['/api/v1/events', '/api/v1/events', ['from=soon', 'limit=0', 'limit=2000', 'after=x', 'tags=x', 'format=x']],
  ])('lists for GET %s the codes of bad parameters, and no others', async (path, url, queries) => {
    const headers = { 'x-api-key': gateway.key, 'content-type': 'application/json' }
    const body = '{"name":"m","type":"gauge","value":1}'
    await fetch(`${gateway.url}/api/v1/metrics`, { method: 'POST', headers, body })
    const codes = new Set<string>()
    for (const query of [...queries, 'x=&'.repeat(1_001)]) {
      const response = await fetch(`${gateway.url}${url}?${query}`, { headers })
      expect(response.status, query).toBe(400)
      codes.add(((await response.json()) as { readonly error: { readonly code: string } }).error.code)
    }
    const listed = document.paths[path]!['get']!.responses['400']!.description.split(', ')
    expect(listed.toSorted()).toEqual([...codes].map((code) => `\`${code}\``).sort())
  })

  it('lists for POST /graphql the code of a mutation with too many items', async () => {
    const items = '{name:"m",type:GAUGE,value:1},'.repeat(1_001)
    const query = `mutation { trackMetrics(inputs: [${items}]) { accepted } }`
    const headers = { 'x-api-key': gateway.key, 'content-type': 'application/json' }
    const body = JSON.stringify({ query })
    const response = await fetch(`${gateway.url}/graphql`, { method: 'POST', headers, body })
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('"BATCH_TOO_LARGE"')])
    expect(document.paths['/graphql']!['post']!.responses['400']!.description).toContain('`batch_too_large`')
  })

  it('lists for each route the content encodings that it accepts', async () => {
    const routes = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.entries(operations).flatMap(([method, { requestBody, parameters = [] }]) => {
        const encodings = parameters.find(({ name }) => name === 'Content-Encoding')?.schema.enum ?? []
        return requestBody === undefined ? [] : [{ path, method, encodings, types: Object.keys(requestBody.content) }]
      }),
    )
    expect(routes.length).toBeGreaterThan(8)
    for (const { path, method, encodings, types } of routes) {
      const accepted: string[] = []
      for (const [encoding, body] of Object.entries(BODY_BY_ENCODING)) {
        const headers = { 'x-api-key': gateway.key, 'content-type': types[0]!, 'content-encoding': encoding }
        const { status } = await fetch(gateway.url + path, { method: method.toUpperCase(), headers, body })
        // 406 in the Better Stack API.
        if (status !== 415 && status !== 406) accepted.push(encoding)
      }
      expect(accepted, path).toEqual(encodings)
    }
  })

  it('lists for the files of the pages the content types that they have', async () => {
    const typesByPath: Record<string, Set<string>> = {}
    const listed: Record<string, Set<string>> = {}
    for (const [path, page] of [
      ['/graphql/playground/{name}', '/graphql'],
      ['/pages/{version}/{folder}/{name}', '/graphql'],
    ] as const) {
      const html = await (await fetch(gateway.url + page, { headers: { accept: 'text/html' } })).text()
      const prefix = path.slice(0, path.indexOf('{'))
      const addresses = [...html.matchAll(/"(\/[^"\s<>]*\.\w+)"/g)].map(([, address]) => address!)
      const types = addresses
        .filter((address) => address.startsWith(prefix))
        .map(async (address) => (await fetch(gateway.url + address)).headers.get('content-type')!.replace(/;.*/, ''))
      typesByPath[path] = new Set(await Promise.all(types))
      listed[path] = new Set(Object.keys(document.paths[path]!['get']!.responses['200']!.content!))
    }
    expect(listed).toEqual(typesByPath)
  })

  it('describes every parameter of a GraphQL request, by GET and POST', () => {
    const names = ['query', 'documentId', 'operationName', 'variables', 'extensions']
    expect(document.paths['/graphql']!['get']!.parameters!.map(({ name }) => name)).toEqual(names)
    const { properties, required } = document.components.schemas['GraphQLRequest']!
    expect([Object.keys(properties!), required]).toEqual([names, []])
  })

  it('refers only to schemas that exist, and to each of them', () => {
    const refs = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name)
    expect([...new Set(refs)].sort()).toEqual(Object.keys(document.components.schemas).sort())
  })
})
