/**
 * GaugeQL with Apollo Client: track, draw, page, and watch. Subscriptions need no link of their own: HttpLink speaks
 * the multipart protocol.
 *
 *   node examples/apollo-client.ts http://127.0.0.1:4000/graphql YOUR_API_KEY     (Node.js 22.18 or newer)
 */
import { fileURLToPath } from 'node:url'
import { ApolloClient, gql, HttpLink, InMemoryCache, type TypedDocumentNode } from '@apollo/client'
import { applyLive, type Chart, type ChartLine, type LiveUpdate } from './live-chart.ts'

export function connect(uri: string, key: string): ApolloClient {
  return new ApolloClient({
    link: new HttpLink({ uri, headers: { authorization: `Bearer ${key}` } }),
    cache: new InMemoryCache(),
    // Numbers change; ask for them each time.
    defaultOptions: { query: { fetchPolicy: 'no-cache' }, mutate: { fetchPolicy: 'no-cache' } },
  })
}

export interface Point {
  readonly name: string
  readonly type: 'GAUGE' | 'COUNTER' | 'DISTRIBUTION' | 'SET'
  readonly value: number | string
  readonly timestamp?: string
  readonly tags?: Readonly<Record<string, string>>
}

const TRACK: TypedDocumentNode<{ trackMetrics: { accepted: number } }, { metrics: readonly Point[] }> = gql`
  mutation Track($metrics: [MetricInput!]!) {
    trackMetrics(metrics: $metrics) {
      accepted
      errors {
        index
        code
        message
      }
    }
  }
`

export async function track(client: ApolloClient, metrics: readonly Point[]): Promise<number> {
  const { data } = await client.mutate({ mutation: TRACK, variables: { metrics } })
  return data?.trackMetrics.accepted ?? 0
}

const CHART: TypedDocumentNode<{ query: { series: (ChartLine & { label: string })[] } }, { metric: string }> = gql`
  query Chart($metric: String!) {
    query(metric: $metric, last: "1h", interval: "1m", groupBy: ["endpoint"]) {
      series {
        id
        label
        timestamps
        values
      }
    }
  }
`

export async function chart(client: ApolloClient, metric: string): Promise<readonly (ChartLine & { label: string })[]> {
  const { data } = await client.query({ query: CHART, variables: { metric } })
  return data?.query.series ?? []
}

interface Page {
  readonly nodes: readonly { readonly name: string }[]
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null }
}

const METRICS: TypedDocumentNode<{ metrics: Page }, { first: number; after: string | null }> = gql`
  query Metrics($first: Int!, $after: String) {
    metrics(first: $first, after: $after) {
      nodes {
        name
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`

async function metricsPage(client: ApolloClient, first: number, after: string | null): Promise<Page | undefined> {
  const { data } = await client.query({ query: METRICS, variables: { first, after } })
  return data?.metrics
}

export async function metricNames(client: ApolloClient, first: number): Promise<readonly string[]> {
  const names: string[] = []
  let page = await metricsPage(client, first, null)
  while (page !== undefined) {
    names.push(...page.nodes.map(({ name }) => name))
    const { hasNextPage, endCursor } = page.pageInfo
    page = hasNextPage ? await metricsPage(client, first, endCursor) : undefined
  }
  return names
}

const LIVE: TypedDocumentNode<{ live: LiveUpdate }, { metric: string }> = gql`
  subscription Live($metric: String!) {
    live(metric: $metric, last: "1h", interval: "1m", groupBy: ["endpoint"]) {
      kind
      dropBefore
      series {
        id
        timestamps
        values
      }
    }
  }
`

/** Calls back with the chart whenever it changes; answers how to stop. */
export function watch(client: ApolloClient, metric: string, show: (chart: Chart) => void): () => void {
  let shown: Chart = {}
  const updates = client.subscribe({ query: LIVE, variables: { metric }, fetchPolicy: 'no-cache' })
  const subscription = updates.subscribe(({ data }) => {
    if (data == null) return
    shown = applyLive(shown, data.live)
    show(shown)
  })
  return () => subscription.unsubscribe()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , url = '', key = ''] = process.argv
  const client = connect(url, key)
  const point = (): Point => ({
    name: 'example.latency',
    type: 'DISTRIBUTION',
    value: 50 + Math.random() * 100,
    tags: { endpoint: '/users' },
  })
  await track(client, [point(), point()])
  console.log(await chart(client, 'example.latency'), await metricNames(client, 100))
  watch(client, 'example.latency', (now) => console.log(now))
  setInterval(() => track(client, [point()]), 2_000)
}
