import { createHash } from 'node:crypto'
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client'
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries'
import { GraphQLClient } from 'graphql-request'
import { createClient, type Client as SseClient } from 'graphql-sse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as apollo from '../../examples/apollo-client.ts'
import { applyLive, type Chart, chartOf, LIVE_FIELDS, type LiveUpdate } from '../../examples/live-chart.ts'
import * as urql from '../../examples/urql.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { until } from '../support/redis-server.ts'

/** Unmodified popular clients against the real gateway. */

let gateway: TestGateway
let url: string
beforeAll(async () => {
  gateway = await startGateway({ env: { RATE_LIMITS: 'off' } })
  url = `${gateway.url}/graphql`
  const names = ['p.a', 'p.b', 'p.c', 'p.d', 'p.e']
  await apollo.track(
    apollo.connect(url, gateway.key),
    names.map((name) => ({ name, type: 'GAUGE', value: 1 })),
  )
})
afterAll(() => gateway.close())

const TRACK = 'mutation ($metrics: [MetricInput!]!) { trackMetrics(metrics: $metrics) { accepted } }'
const CHART =
  'query ($metric: String!) { query(metric: $metric, last: "1h", interval: "1m", groupBy: ["endpoint"]) { series { id timestamps values label } } }'
const METRICS =
  'query ($first: Int!, $after: String) { metrics(first: $first, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } } }'
const LIVE = `subscription ($metric: String!) { live(metric: $metric, last: "1h", interval: "1m", groupBy: ["endpoint"]) { ${LIVE_FIELDS} } }`

interface Consumer {
  track(metrics: readonly apollo.Point[]): Promise<number>
  chart(metric: string): ReturnType<typeof apollo.chart>
  metricNames(first: number): Promise<readonly string[]>
  /** Undefined: the client knows no subscriptions. */
  watch: ((metric: string, show: (chart: Chart) => void) => () => void) | undefined
}

type Run = <T>(query: string, variables: Record<string, unknown>) => Promise<T>

/** A client that accepts documents as text. */
function textConsumer(run: Run, watch: Consumer['watch']): Consumer {
  return {
    watch,
    track: async (metrics) =>
      (await run<{ trackMetrics: { accepted: number } }>(TRACK, { metrics })).trackMetrics.accepted,
    chart: async (metric) =>
      (await run<{ query: { series: Awaited<ReturnType<typeof apollo.chart>> } }>(CHART, { metric })).query.series,
    async metricNames(first) {
      const names: string[] = []
      for (let after: string | null = null; ; ) {
        const { metrics }: { metrics: { nodes: { name: string }[]; pageInfo: PageInfo } } = await run(METRICS, {
          first,
          after,
        })
        names.push(...metrics.nodes.map(({ name }) => name))
        if (!metrics.pageInfo.hasNextPage) return names
        after = metrics.pageInfo.endCursor
      }
    },
  }
}

interface PageInfo {
  readonly hasNextPage: boolean
  readonly endCursor: string | null
}

function ofSse(client: SseClient): Consumer {
  const run: Run = <T>(query: string, variables: Record<string, unknown>) =>
    new Promise<T>((resolve, reject) => {
      let result: T | undefined
      client.subscribe<T>(
        { query, variables },
        {
          next: ({ data, errors }) => (data == null ? reject(errors) : (result = data)),
          error: reject,
          complete: () => (result === undefined ? reject(new Error('no result')) : resolve(result)),
        },
      )
    })
  return textConsumer(run, (metric, show) => {
    let shown: Chart = {}
    return client.subscribe<{ live: LiveUpdate }>(
      { query: LIVE, variables: { metric } },
      {
        next: ({ data }) => {
          if (data == null) return
          shown = applyLive(shown, data.live)
          show(shown)
        },
        error: () => {},
        complete: () => {},
      },
    )
  })
}

const CONSUMERS: Readonly<Record<string, () => Consumer>> = {
  'Apollo Client': () => {
    const client = apollo.connect(url, gateway.key)
    return {
      track: (metrics) => apollo.track(client, metrics),
      chart: (metric) => apollo.chart(client, metric),
      metricNames: (first) => apollo.metricNames(client, first),
      watch: (metric, show) => apollo.watch(client, metric, show),
    }
  },
  urql: () => {
    const client = urql.connect(url, gateway.key)
    return {
      track: (metrics) => urql.track(client, metrics),
      chart: (metric) => urql.chart(client, metric),
      metricNames: (first) => urql.metricNames(client, first),
      watch: (metric, show) => urql.watch(client, metric, show),
    }
  },
  'graphql-sse': () => ofSse(createClient({ url, headers: { authorization: `Bearer ${gateway.key}` } })),
  'graphql-request': () => {
    const client = new GraphQLClient(url, { headers: { 'x-api-key': gateway.key } })
    return textConsumer((query, variables) => client.request(query, variables), undefined)
  },
}

describe.each(Object.entries(CONSUMERS))('%s', (name, connect) => {
  const metric = `latency.${name.replace(' ', '')}`
  const point = (value: number, endpoint: string): apollo.Point => ({
    name: metric,
    type: 'DISTRIBUTION',
    value,
    tags: { endpoint },
  })

  test('tracks, queries, pages and subscribes', async () => {
    const { track, chart, metricNames, watch } = connect()
    expect(await track([point(10, '/users'), point(20, '/orders')])).toBe(2)
    const lines = await chart(metric)
    expect(lines.map(({ label, values }) => [label, values])).toEqual([
      ['avg · /orders', [20]],
      ['avg · /users', [10]],
    ])
    const names = await metricNames(2)
    expect(names.filter((found) => found.startsWith('p.'))).toEqual(['p.a', 'p.b', 'p.c', 'p.d', 'p.e'])
    expect(names).toContain(metric)
    if (watch === undefined) return
    let shown: Chart = {}
    const stop = watch(metric, (now) => {
      shown = now
    })
    const isFresh = async () => JSON.stringify(sorted(shown)) === JSON.stringify(sorted(chartOf(await chart(metric))))
    await until('no snapshot', () => Object.keys(shown).length === 2)
    await track([point(30, '/users'), point(1, '/carts')])
    await until('no patch', async () => Object.keys(shown).length === 3 && (await isFresh()))
    stop()
  })

  const sorted = (chart: Chart) => Object.entries(chart).sort(([a], [b]) => (a < b ? -1 : 1))
})

test('subscriptions end when their clients stop', async () => {
  await until('subscriptions are held', () => gateway.live.objectCounts.subscriptions === 0)
  expect(gateway.live.objectCounts).toEqual({ subscriptions: 0, liveQueries: 0, keys: 0 })
})

test('Apollo Client sends a hash once the gateway knows the document, by GET', async () => {
  const sent: { readonly method: string; readonly hasDocument: boolean }[] = []
  const client = new ApolloClient({
    link: ApolloLink.from([
      new PersistedQueryLink({
        sha256: (text) => createHash('sha256').update(text).digest('hex'),
        useGETForHashedQueries: true,
      }),
      new HttpLink({
        uri: url,
        headers: { authorization: `Bearer ${gateway.key}` },
        fetch: (input, init) => {
          const asked = `${input} ${init?.body ?? ''}`
          sent.push({ method: init?.method ?? 'GET', hasDocument: asked.includes('metric') })
          return fetch(input, init)
        },
      }),
    ]),
    cache: new InMemoryCache(),
  })
  const query = gql`
    query Names {
      metrics(first: 1) {
        nodes {
          name
        }
      }
    }
  `
  for (let round = 0; round < 2; round++) await client.query({ query, fetchPolicy: 'no-cache' })
  expect(sent).toEqual([
    { method: 'GET', hasDocument: false },
    { method: 'POST', hasDocument: true },
    { method: 'GET', hasDocument: false },
  ])
})
