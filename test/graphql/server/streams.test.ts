import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { GraphQLLimits } from '../../../src/graphql/operation-cost.ts'
import type { StreamSettings } from '../../../src/graphql/server/streams.ts'
import { GatewayError } from '../../../src/model/errors.ts'
import { until } from '../../support/redis-server.ts'
import { type GraphQLResponse, type Harness, startGraphQL } from '../harness.ts'

const LIVE = 'subscription { live(metric: "latency") { kind series { values } } }'
const SSE = 'text/event-stream'
const MULTIPART = 'multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json'

let graphql: Harness
let url: string
beforeEach(() => start({}))
afterEach(async () => {
  graphql.gateway.liveQueries.close()
  await close()
})

/** Clients keep their connections. */
async function close(): Promise<void> {
  const closed = graphql.app.close()
  graphql.app.server.closeAllConnections()
  await closed
}

async function start(streams: Partial<StreamSettings>, limits: Partial<GraphQLLimits> = {}): Promise<void> {
  graphql = startGraphQL(limits, {}, streams)
  url = `${await graphql.app.listen({ port: 0, host: '127.0.0.1' })}/graphql`
}

async function restart(streams: Partial<StreamSettings>, limits: Partial<GraphQLLimits> = {}): Promise<void> {
  await close()
  await start(streams, limits)
}

interface Watched {
  readonly response: Response
  readonly text: () => string
  readonly results: () => readonly GraphQLResponse[]
  readonly isOver: () => boolean
  readonly hangUp: () => void
}

async function watch(query: string, accept = SSE, key = 'both', method = 'POST'): Promise<Watched> {
  const hangUp = new AbortController()
  const headers = { authorization: `Bearer ${key}`, accept, 'content-type': 'application/json' }
  const response =
    method === 'GET'
      ? await fetch(`${url}?${new URLSearchParams({ query })}`, { headers, signal: hangUp.signal })
      : await fetch(url, { method, headers, body: JSON.stringify({ query }), signal: hangUp.signal })
  let text = ''
  let isOver = false
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder()
    for await (const chunk of response.body!) text += decoder.decode(chunk, { stream: true })
    isOver = true
  }
  read().catch(() => {
    isOver = true
  })
  return {
    response,
    text: () => text,
    isOver: () => isOver,
    hangUp: () => hangUp.abort(),
    results: () => [...text.matchAll(/event: next\ndata: (.*)\n\n/g)].map((match) => JSON.parse(match[1]!)),
  }
}

const opened = (): number => graphql.gateway.liveQueries.objectCounts.subscriptions

describe('server-sent events', () => {
  test.each(['POST', 'GET'])('by %s: a snapshot, then patches, until the client disconnects', async (method) => {
    const watched = await watch(LIVE, SSE, 'reader', method)
    expect(watched.response.status).toBe(200)
    expect(watched.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(watched.response.headers.get('cache-control')).toContain('no-store')
    await until('no snapshot', () => watched.results().length === 1)
    expect(watched.results()[0]).toEqual({ data: { live: { kind: 'SNAPSHOT', series: [{ values: [10, 11] }] } } })
    graphql.gateway.valueOffset = 5
    graphql.gateway.commit('latency')
    await until('no patch', () => watched.results().length === 2)
    expect(watched.results()[1]).toEqual({ data: { live: { kind: 'PATCH', series: [{ values: [15, 16] }] } } })
    watched.hangUp()
    await until('the subscription is held', () => opened() === 0)
  })

  test.each([
    `application/json, ${SSE};q=0`,
    `${SSE};q=0.0, application/json`,
    'multipart/mixed;subscriptionSpec=1.0;q=0, application/json',
  ])('a format that the client refuses is not sent: %s', async (accept) => {
    const watched = await watch(LIVE, accept)
    await until('the response goes on', watched.isOver)
    expect(watched.response.headers.get('content-type')).toBe('application/json; charset=utf-8')
  })

  test('a client that refuses each format is 406, and one that refuses the first gets the second', async () => {
    expect((await watch(LIVE, `${SSE};q=0`)).response.status).toBe(406)
    const watched = await watch(LIVE, `${SSE};q=0, multipart/mixed;subscriptionSpec=1.0`)
    expect(watched.response.headers.get('content-type')).toContain('multipart/mixed')
    watched.hangUp()
    await until('the subscription is held', () => opened() === 0)
  })

  test('the response limit applies to each update', async () => {
    await restart({}, { responseFieldsMax: 5 })
    const watched = await watch(LIVE)
    for (const updates of [1, 2, 3]) {
      await until('no update', () => watched.results().length === updates)
      expect(watched.results().at(-1)).not.toHaveProperty('errors')
      graphql.gateway.valueOffset++
      graphql.gateway.commit('latency')
    }
    watched.hangUp()
    await until('the subscription is held', () => opened() === 0)
  })

  test('an error of the query ends the stream', async () => {
    const watched = await watch('subscription { live(metric: "nothing") { kind } }')
    await until('the stream goes on', watched.isOver)
    expect(watched.results()).toMatchObject([{ errors: [{ extensions: { code: 'METRIC_NOT_FOUND' } }] }])
    expect(watched.text()).toMatch(/event: complete\ndata:\n\n$/)
  })

  test.each([
    ['a document that is refused', 'subscription { nothing }', 'GRAPHQL_VALIDATION_FAILED'],
    ['a scope that is missing', LIVE, 'FORBIDDEN'],
  ])('%s is an error in the stream', async (_what, query, code) => {
    const watched = await watch(query, SSE, 'writer')
    await until('the stream goes on', watched.isOver)
    expect(watched.results()).toMatchObject([{ errors: [{ extensions: { code } }] }])
  })

  test.each([
    ['subscription { live(metric: "latency") @skip(if: true) { kind } }', 'GRAPHQL_VALIDATION_FAILED'],
    // graphql-js refuses it before any rule of ours: a variable has no value yet.
    ['subscription ($off: Boolean = false) { live(metric: "latency") @include(if: $off) { kind } }', 'BAD_USER_INPUT'],
    ['subscription { ... @skip(if: true) { live(metric: "latency") { kind } } }', 'GRAPHQL_VALIDATION_FAILED'],
    [
      'subscription { ...F } fragment F on Subscription { live(metric: "latency") @include(if: false) { kind } }',
      'GRAPHQL_VALIDATION_FAILED',
    ],
  ])('a subscription with a conditional root field is refused: %s', async (query, code) => {
    for (const accept of [SSE, `application/json, ${SSE}`]) {
      const watched = await watch(query, accept)
      await until('the response goes on', watched.isOver)
      expect(watched.response.status).toBe(200)
      expect(watched.text()).toContain(code)
    }
    expect(graphql.logged).toEqual([])
  })

  test('a request without a valid key is refused before', async () => {
    const { response } = await watch(LIVE, SSE, 'stranger')
    expect(response.status).toBe(401)
  })

  test('queries and mutations can be streamed too', async () => {
    const watched = await watch('{ __typename }')
    await until('the stream goes on', watched.isOver)
    expect(watched.results()).toEqual([{ data: { __typename: 'Query' } }])
    const byGet = await watch(
      'mutation { trackMetric(input: {name: "a", type: GAUGE, value: 1}) { name } }',
      SSE,
      'both',
      'GET',
    )
    expect(byGet.response.status).toBe(405)
    expect(graphql.gateway.points).toEqual([])
  })

  test('a client that also accepts JSON gets queries as JSON', async () => {
    const { response } = await watch('{ __typename }', `application/json, ${SSE}`)
    expect(response.headers.get('content-type')).toContain('application/json')
  })

  test('a client that accepts only JSON cannot subscribe', async () => {
    const { response, text } = await watch(LIVE, 'application/json')
    expect(response.status).toBe(406)
    expect(response.headers.get('accept')).toBe(SSE)
    await until('no response', () => text() !== '')
    expect(JSON.parse(text())).toMatchObject({ errors: [{ extensions: { code: 'UNSUPPORTED_MEDIA_TYPE' } }] })
  })

  test('too many live queries of a key are refused', async () => {
    const held = await Promise.all([watch(LIVE), watch(LIVE), watch(LIVE)])
    await until('not all subscribed', () => opened() === 3)
    const refused = await watch(LIVE)
    await until('the stream goes on', refused.isOver)
    expect(refused.results()).toMatchObject([{ errors: [{ extensions: { code: 'RATE_LIMITED', max: 3 } }] }])
    for (const { hangUp } of held) hangUp()
    await until('subscriptions are held', () => opened() === 0)
  })
})

test('Apollo’s multipart protocol: every result is a part that ends with the boundary', async () => {
  const watched = await watch(LIVE, MULTIPART)
  expect(watched.response.headers.get('content-type')).toBe('multipart/mixed;boundary="graphql";subscriptionSpec="1.0"')
  await until('no snapshot', () => watched.text().includes('SNAPSHOT'))
  const { metricId } = graphql.gateway.rows.get('latency')!
  graphql.gateway.rows.delete('latency')
  graphql.gateway.commitOf(metricId)
  await until('the stream goes on', watched.isOver)
  expect(watched.text()).toBe(
    '\r\n--graphql\r\ncontent-type: application/json\r\n\r\n{"payload":{"data":{"live":{"kind":"SNAPSHOT","series":[{"values":[10,11]}]}}}}\r\n--graphql\r\ncontent-type: application/json\r\n\r\n{"payload":{"errors":[{"message":"there is no metric latency","extensions":{"code":"METRIC_NOT_FOUND"}}]}}\r\n--graphql--\r\n',
  )
})

describe('streams end', () => {
  test('when the gateway stops, without complete, so that clients reconnect', async () => {
    const watched = await watch(LIVE)
    await until('no snapshot', () => watched.results().length === 1)
    graphql.gateway.liveQueries.close()
    await until('the stream goes on', watched.isOver)
    expect(watched.results()).toHaveLength(1)
    expect(watched.text()).not.toContain('complete')
  })

  test('when their key is revoked, with an error', async () => {
    await restart({ keepAliveIntervalMs: 20 })
    const watched = await watch(LIVE)
    await until('no snapshot', () => watched.results().length === 1)
    graphql.gateway.keys.delete('both')
    await until('the stream goes on', watched.isOver)
    expect(watched.results().at(-1)).toMatchObject({ errors: [{ extensions: { code: 'INVALID_API_KEY' } }] })
    expect(opened()).toBe(0)
  })

  test.each(['store_unavailable', 'overloaded', 'internal'] as const)(
    'not while their key cannot be looked at (%s): they go on afterwards',
    async (code) => {
      await restart({ keepAliveIntervalMs: 5 })
      const watched = await watch(LIVE)
      await until('no snapshot', () => watched.results().length === 1)
      graphql.gateway.keyFailure = new GatewayError(code, 'the store is away')
      const signs = (): number => watched.text().split('\n:\n').length
      const before = signs()
      await until('no signs of life', () => signs() > before + 3)
      graphql.gateway.keyFailure = undefined
      graphql.gateway.valueOffset++
      graphql.gateway.commit('latency')
      await until('no patch', () => watched.results().length === 2)
      expect(watched.text()).not.toContain('complete')
      watched.hangUp()
    },
  )

  test('with complete when the query fails for good, without it when the gateway failed', async () => {
    for (const [code, isForGood] of [
      ['metric_not_found', true],
      ['query_too_large', true],
      ['internal', false],
    ] as const) {
      await restart({})
      const watched = await watch(LIVE)
      await until('no snapshot', () => watched.results().length === 1)
      graphql.gateway.failure = new GatewayError(code, 'because')
      graphql.gateway.commit('latency')
      await until('the stream goes on', watched.isOver)
      expect(watched.results().at(-1)).toMatchObject({ errors: [{ extensions: { code: code.toUpperCase() } }] })
      expect(watched.text().includes('event: complete')).toBe(isForGood)
    }
  })

  test('not while nothing changes: they send keep-alives', async () => {
    await restart({ keepAliveIntervalMs: 20 })
    const watched = await watch(LIVE)
    await until(
      'no signs of life',
      () =>
        watched
          .text()
          .split('\n')
          .filter((line) => line === ':').length > 3,
    )
    expect(watched.results()).toHaveLength(1)
    watched.hangUp()
  })
})

describe('a client that does not read', () => {
  /** Says nothing after its request, and reads nothing. */
  const subscribeDeaf = async () => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    // A line of each bucket for each of many aliases: an update that no buffer of the kernel takes whole.
    const lines = Array.from({ length: 300 }, (_, i) => `a${i}: series { label values timestamps id tags }`).join(' ')
    const body = JSON.stringify({ query: `subscription { live(metric: "latency", groupBy: ["a"]) { ${lines} } }` })
    socket.write(
      `POST /graphql HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: both\r\naccept: ${SSE}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    socket.pause()
    return socket
  }
  const updateUntil = async (holds: () => boolean): Promise<void> => {
    await until('the client is served', () => {
      graphql.gateway.valueOffset++
      graphql.gateway.commit('latency')
      return holds()
    })
  }
  const rest = async (socket: Awaited<ReturnType<typeof subscribeDeaf>>): Promise<string> => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.resume()
    await once(socket, 'end')
    socket.destroy()
    return text
  }

  test('is disconnected with an error after it read nothing for too long; others continue', async () => {
    await restart({ stallTimeoutMs: 50, unreadBytesMax: 1 << 30 })
    const other = await watch(LIVE)
    const socket = await subscribeDeaf()
    await until('not subscribed', () => opened() === 2)
    await updateUntil(() => opened() === 1)
    const told = await rest(socket)
    expect(told).toContain('"code":"OVERLOADED"')
    // It may come back.
    expect(told).not.toContain('event: complete')
    const before = other.results().length
    await updateUntil(() => other.results().length > before)
    other.hangUp()
  })

  test('is disconnected when too much is unread', async () => {
    await restart({ stallTimeoutMs: 60_000, unreadBytesMax: 1_000 })
    const socket = await subscribeDeaf()
    await until('not subscribed', () => graphql.gateway.queries.length === 1)
    await updateUntil(() => opened() === 0)
    expect(await rest(socket)).toContain('"code":"OVERLOADED"')
  })

  test('gets the accumulated difference when it reads again', async () => {
    await restart({ stallTimeoutMs: 60_000, unreadBytesMax: 1 << 30 })
    const asked = () => graphql.gateway.queries.length
    const socket = await subscribeDeaf()
    await until('not subscribed', () => opened() === 1)
    await updateUntil(() => asked() > 200)
    graphql.gateway.liveQueries.close()
    const text = await rest(socket)
    expect(text.split('event: next').length - 1).toBeLessThan(100)
  })
})
