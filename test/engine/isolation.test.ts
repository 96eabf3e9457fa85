import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { schema } from '../../src/graphql/schema.ts'
import {
  cumulativeHistogram,
  type ExampleRequest,
  exampleRequests,
  NOTHING_SEEN,
  type Seen,
  sendExample,
  writeWithMetadata,
} from '../support/example-requests.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { COUNTER } from '../support/remote-write.ts'

/**
 * One project must not be able to tell whether another exists: through every route it gets the same answers, byte for
 * byte, from a gateway that holds another project with the same names and from one that does not.
 */

const NOW_MS = Date.UTC(2024, 0, 15, 12)
const KEYS = { alpha: 'alpha-key-12345', beta: 'beta-key-123456' } as const
/** In everything that alpha writes, and nowhere else. */
const SECRET = 'alphasecret'
const OWN = 'betaown'

interface HttpResponse {
  readonly request: string
  readonly status: number
  readonly headers: string
  readonly body: string
}

async function send(gateway: TestGateway, key: string, request: ExampleRequest): Promise<HttpResponse> {
  const { status, headers, body } = await sendExample(gateway.url, key, request)
  const names = ['date', 'x-request-id', 'keep-alive', 'connection']
  return {
    request: `${request.route.slice(0, request.route.indexOf(' '))} ${request.url} ${request.body ?? ''}`,
    status,
    headers: JSON.stringify([...headers].filter(([name]) => !names.includes(name))),
    body,
  }
}

async function sendAll(
  gateway: TestGateway,
  key: string,
  requests: readonly ExampleRequest[],
): Promise<HttpResponse[]> {
  const responses: HttpResponse[] = []
  for (const request of requests) responses.push(await send(gateway, key, request))
  return responses
}

const start = () =>
  startGateway({
    env: { API_KEYS: `${KEYS.alpha}:alpha:ingest+query+admin,${KEYS.beta}:beta:ingest+query+admin` },
    now: () => NOW_MS,
  })

/** Names, ids and cursors that alpha holds. */
async function look(gateway: TestGateway): Promise<Seen> {
  const ask = async (request: Omit<ExampleRequest, 'route'>, method = 'POST') =>
    JSON.parse((await send(gateway, KEYS.alpha, { route: `${method} `, ...request })).body)
  const headers = { 'content-type': 'application/json' }
  const metric = `${SECRET}.own`
  const { data } = await ask({
    url: '/graphql',
    headers,
    body: JSON.stringify({
      query: `{ metric(name: "${metric}") { id } metrics(first: 1) { pageInfo { endCursor } } events(first: 1) { pageInfo { endCursor } } }`,
    }),
  })
  const { next } = await ask({ url: '/api/v1/events?limit=1' }, 'GET')
  const seen: Seen = {
    metric,
    nodeId: data.metric.id,
    metricCursor: data.metrics.pageInfo.endCursor,
    eventCursor: next,
    eventConnectionCursor: data.events.pageInfo.endCursor,
  }
  for (const value of Object.values(seen)) expect(value).toMatch(/./)
  return seen
}

/** Ids of events are drawn at random, and cursors hold them. */
function comparable({ request, status, headers, body }: HttpResponse): HttpResponse {
  const masked = body.replaceAll(/[0-7][0-9A-HJKMNP-TV-Z]{25}/g, 'EVENT').replaceAll(/"next":"[^"]*"/g, '"next":"…"')
  return { request, status, headers: headers.replaceAll(/\["content-length","\d+"\],?/g, ''), body: masked }
}

let crowded: TestGateway
let lonely: TestGateway
let requests: readonly ExampleRequest[]
let among: readonly HttpResponse[]
let alone: readonly HttpResponse[]
let alphaBefore: readonly HttpResponse[]
let alphaAfter: readonly HttpResponse[]

beforeAll(async () => {
  ;[crowded, lonely] = await Promise.all([start(), start()])
  const deletes = ({ route, body = '' }: ExampleRequest) => route.startsWith('DELETE') || body.includes('deleteMetric')
  const ofAlpha = exampleRequests(SECRET, NOTHING_SEEN).filter((request) => !deletes(request))
  // What makes a difference if anything is shared: another type, other values, more series.
  const headers = { 'content-type': 'application/json' }
  const item = { name: 'shared.typed', type: 'gauge', value: 77, tags: { [SECRET]: SECRET } }
  await send(crowded, KEYS.alpha, { route: 'POST ', url: '/api/v1/metrics', headers, body: JSON.stringify(item) })
  // What a gateway remembers of senders: the types of metric families, the state of histograms.
  await send(crowded, KEYS.alpha, writeWithMetadata('shared_meta', COUNTER))
  await send(crowded, KEYS.alpha, cumulativeHistogram(2))
  for (let i = 0; i < 3; i++) await sendAll(crowded, KEYS.alpha, ofAlpha)
  const reads = ofAlpha.filter(
    ({ route, body = '' }) => !/^POST \/(api|metrics|$)/.test(route) && !/mutation/.test(body),
  )
  alphaBefore = await sendAll(crowded, KEYS.alpha, reads)
  const seen = await look(crowded)
  requests = exampleRequests(OWN, seen)
  among = await sendAll(crowded, KEYS.beta, requests)
  alone = await sendAll(lonely, KEYS.beta, requests)
  alphaAfter = await sendAll(crowded, KEYS.alpha, reads)
})

afterAll(() => Promise.all([crowded?.close(), lonely?.close()]))

describe('two projects on one gateway', () => {
  it('get the same answers as if the other did not exist', () => {
    // The gateway's own metrics count all requests; below they are held to name nothing.
    const isOwn = ({ request }: HttpResponse) => request === 'GET /metrics '
    expect(among.filter((response) => !isOwn(response)).map(comparable)).toEqual(
      alone.filter((response) => !isOwn(response)).map(comparable),
    )
    expect(among.filter(({ status }) => status >= 500)).toEqual([])
    expect(among.filter(({ body }) => body.includes('"SNAPSHOT"')).length).toBeGreaterThan(1)
    expect(among.filter(({ status }) => status < 300).length).toBeGreaterThan(among.length / 2)
  })

  it('never read what the other wrote', () => {
    // Beta's own requests name what it tries of alpha: only that may come back, in an error.
    const leaks = among.filter(({ headers, body }) => (headers + body).replaceAll(`${SECRET}.own`, '').includes(SECRET))
    expect(leaks).toEqual([])
    for (const { request, status, body } of among)
      if (body.includes(`${SECRET}.own`))
        expect([request, status >= 400 || body.includes('errors')]).toEqual([request, true])
    // The test would see it: alpha's own answers are full of it.
    expect(alphaBefore.filter(({ body }) => body.includes(SECRET)).length).toBeGreaterThan(10)
  })

  it('change nothing of what the other wrote', () => {
    const isOwn = ({ request }: HttpResponse) => request === 'GET /metrics '
    expect(alphaAfter.filter((response) => !isOwn(response)).map(comparable)).toEqual(
      alphaBefore.filter((response) => !isOwn(response)).map(comparable),
    )
  })

  it('were tried on every route', () => {
    const routes = crowded.routes
      .filter((r) => r.method !== 'HEAD' || !crowded.routes.some((o) => o.method === 'GET' && o.path === r.path))
      .map(({ method, path }) => `${method} ${path}`)
    const tried = new Set(requests.map(({ route }) => route))
    expect(routes.filter((route) => !tried.has(route))).toEqual([])
  })

  it('were tried on every root field of GraphQL', () => {
    const documents = requests.map(({ body = '', url }) => body + decodeURIComponent(url)).join('\n')
    const fields = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].flatMap((type) =>
      Object.keys(type?.getFields() ?? {}),
    )
    expect(fields.length).toBeGreaterThan(8)
    expect(fields.filter((field) => !new RegExp(`\\b${field}\\b[ ({]`).test(documents))).toEqual([])
  })
})
