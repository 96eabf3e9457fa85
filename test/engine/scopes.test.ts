import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SCOPES, type Scope } from '../../src/store/api-keys.ts'
import { type ExampleRequest, exampleRequests, NOTHING_SEEN, sendExample } from '../support/example-requests.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

const keyOf = (scope: Scope) => `key-for-${scope}-12345`

let gateway: TestGateway
beforeAll(async () => {
  const rows = SCOPES.map((scope) => `${keyOf(scope)}:shop:${scope}`)
  gateway = await startGateway({ env: { API_KEYS: ['all-key-12345:shop:ingest+query+admin', ...rows].join(',') } })
  for (const example of exampleRequests('mark', NOTHING_SEEN))
    if (neededBy(example) === 'ingest') await sendExample(gateway.url, 'all-key-12345', example)
})
afterAll(() => gateway.close())

/** Undefined: no scope is needed. */
function neededBy({ route, body = '', url, isOpen }: ExampleRequest): Scope | undefined {
  if (isOpen === true) return undefined
  if (!route.endsWith(' /graphql')) {
    const scope = gateway.routes.find(({ method, path }) => `${method} ${path}` === route)?.operation?.scope
    return scope === 'any' ? undefined : scope
  }
  const document = body === '' ? decodeURIComponent(url) : body
  if (/viewer|\{ __typename \}/.test(document)) return undefined
  if (document.includes('deleteMetric')) return 'admin'
  return document.includes('mutation') ? 'ingest' : 'query'
}

// An id that names something: one that names nothing is answered without looking.
const nodeId = Buffer.from('Metric:mark.own').toString('base64url')
const examples = exampleRequests('mark', { ...NOTHING_SEEN, nodeId })

describe.each(SCOPES)('a key with the scope %s alone', (scope) => {
  it('is refused what needs another scope, through every route and in every field, without details', async () => {
    const others = examples.filter((example) => ![undefined, scope].includes(neededBy(example)))
    expect(others.length).toBeGreaterThan(5)
    for (const example of others) {
      const { status, body } = await sendExample(gateway.url, keyOf(scope), example)
      const at = `${example.route} ${example.url} ${example.body ?? ''} → ${status} ${body}`
      if (!example.route.endsWith(' /graphql')) {
        expect(status, at).toBe(403)
        // The bodies of Better Stack, OTLP and REST; that of remote write is the message.
        if (body !== 'Unauthorized' && !example.route.endsWith('/write'))
          expect([['error'], ['code', 'message']], at).toContainEqual(Object.keys(JSON.parse(body)))
        continue
      }
      const { data, errors } = JSON.parse(example.isStream === true ? /^data: (.*)$/m.exec(body)![1]! : body)
      expect(
        Object.values(data ?? {}).filter((field) => field !== null),
        at,
      ).toEqual([])
      expect(errors, at).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }])
    }
  })

  it('is served what needs it', async () => {
    for (const example of examples.filter((candidate) => neededBy(candidate) === scope)) {
      const { status, body } = await sendExample(gateway.url, keyOf(scope), example)
      expect([401, 403], `${example.url} ${body}`).not.toContain(status)
      if (!body.includes('FORBIDDEN')) continue
      // What was sent may be read back, field by field, with the scope for that alone.
      expect(JSON.parse(body)).toMatchObject({
        data: { trackMetric: { name: 'shared.graphql', metric: null } },
        errors: [{ path: ['trackMetric', 'metric'], extensions: { code: 'FORBIDDEN', scope: 'query' } }],
      })
      expect(scope).toBe('ingest')
    }
  })
})
