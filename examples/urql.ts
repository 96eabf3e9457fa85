/**
 * GaugeQL with urql: track, draw, page, and watch. The fetch exchange speaks server-sent events once it is told to.
 *
 *   node examples/urql.ts http://127.0.0.1:4000/graphql YOUR_API_KEY     (Node.js 22.18 or newer)
 */
import { fileURLToPath } from 'node:url'
import { Client, fetchExchange, gql, type TypedDocumentNode } from '@urql/core'
import { applyLive, type Chart, type ChartLine, type LiveUpdate } from './live-chart.ts'

export function connect(url: string, key: string): Client {
  return new Client({
    url,
    exchanges: [fetchExchange],
    fetchSubscriptions: true,
    // A GET may be kept by caches where it asks about the past; here everything is about now.
    preferGetMethod: false,
    fetchOptions: { headers: { authorization: `Bearer ${key}` } },
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

export async function track(client: Client, metrics: readonly Point[]): Promise<number> {
  const { data, error } = await client.mutation(TRACK, { metrics })
  if (error !== undefined) throw error
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

export async function chart(client: Client, metric: string): Promise<readonly (ChartLine & { label: string })[]> {
  const { data, error } = await client.query(CHART, { metric })
  if (error !== undefined) throw error
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

async function metricsPage(client: Client, first: number, after: string | null): Promise<Page | undefined> {
  const { data, error } = await client.query(METRICS, { first, after })
  if (error !== undefined) throw error
  return data?.metrics
}

export async function metricNames(client: Client, first: number): Promise<readonly string[]> {
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
export function watch(client: Client, metric: string, show: (chart: Chart) => void): () => void {
  let shown: Chart = {}
  const subscription = client.subscription(LIVE, { metric }).subscribe(({ data }) => {
    if (data === undefined) return
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
