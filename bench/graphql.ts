import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drive, postBytes, type Response } from './load.ts'
import type { Options } from './options.ts'
import { latency, randomNumbers } from './random.ts'
import { median, type Report } from './report.ts'
import { API_KEY, pause, type ServerProcess, startGateway, startYoga } from './server-process.ts'
import { onStore, openStore, type StoreKind } from './store.ts'

/** GraphQL requests to the gateway and to stock yoga with the same schema and resolvers, in alternating rounds. */

/** The gateway must need less than yoga. */
const BUDGET = 1
const BUDGET_REST = 1.6
const BATCH = 500
const SERIES = 200
const CONNECTIONS = 8
/** Different bodies that are sent in turn, since clients do not repeat the same numbers. */
const VARIANTS = 20

const TRACK = 'mutation ($input: MetricInput!) { trackMetric(input: $input) { name type value timestamp } }'
const TRACK_BATCH =
  'mutation ($metrics: [MetricInput!]!) { trackMetrics(metrics: $metrics) { accepted rejected errors { index code message } } }'
const CHART =
  'query ($metric: String!) { query(metric: $metric, last: "6h", interval: "5m", aggregations: [P50, P95, P99], fill: NULL) { interval series { id label timestamps values total } } }'

interface Scenario {
  readonly name: string
  readonly requests: number
  readonly bodies: readonly Buffer[]
}

export async function measureGraphQL(
  report: Report,
  options: Options,
  kind: StoreKind,
  profileDir: string | undefined,
): Promise<void> {
  const section = `GraphQL${onStore(kind)}: CPU a request, against stock yoga with the same schema, resolvers and store`
  const dirs = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'bench-graphql-')))
  const stores = [await openStore(kind, dirs[0]!), await openStore(kind, dirs[1]!)] as const
  const servers = [
    await startGateway({
      entry: options.entry,
      store: stores[0],
      profileDir: profileDir && join(profileDir, 'gateway'),
    }),
    await startYoga(stores[1]),
  ]
  try {
    const all = scenarios(options.quick)
    // The data of the chart.
    for (const { port } of servers) await drive(port, 1, VARIANTS, (i) => all[0]!.bodies[i]!, isData)
    for (const { name, requests, bodies } of all) {
      if (!name.includes(options.filter)) continue
      const costs = new Map<ServerProcess, number[]>(servers.map((server) => [server, []]))
      const send = (server: ServerProcess, count: number) =>
        drive(server.port, CONNECTIONS, count, (i) => bodies[i % bodies.length]!, isData)
      for (const server of servers) await send(server, Math.ceil(requests / 2))
      for (let round = 0; round < options.rounds; round++) {
        for (const server of servers) {
          const before = server.cpu.readMs()
          await send(server, requests)
          await pause(20)
          costs.get(server)!.push(((server.cpu.readMs() - before) * 1_000) / requests)
        }
      }
      const [own, yoga] = servers.map((server) => median(costs.get(server)!))
      const perSecond = (us: number) => Math.round(1e6 / us).toLocaleString('en-US')
      report.add({
        section,
        name,
        measured: own!,
        unit: 'µs',
        floor: yoga!,
        budget: BUDGET,
        note: `${perSecond(own!)} requests a CPU second, yoga ${perSecond(yoga!)}`,
      })
    }
    await measureAgainstRest(report, options, kind, servers[0]!)
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
    await Promise.all(stores.map((store) => store.stop()))
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
  }
}

/** The same batch by GraphQL variables and by REST, in alternating rounds. */
async function measureAgainstRest(
  report: Report,
  options: Options,
  kind: StoreKind,
  gateway: ServerProcess,
): Promise<void> {
  const name = `trackMetrics of ${BATCH}, the same batch by REST`
  if (!name.includes(options.filter)) return
  const requests = options.quick ? 30 : 300
  const variants = Array.from({ length: VARIANTS }, () => Array.from({ length: BATCH }, (_, i) => pointOf(i)))
  const byGraphQL = variants.map((metrics) =>
    postBytes('/graphql', API_KEY, JSON.stringify({ query: TRACK_BATCH, variables: { metrics } })),
  )
  const byRest = variants.map((metrics) =>
    postBytes(
      '/api/v1/metrics/batch',
      API_KEY,
      JSON.stringify({ metrics: metrics.map((metric) => ({ ...metric, type: 'distribution' })) }),
    ),
  )
  const costs = [byGraphQL, byRest].map((bodies) => ({ bodies, us: [] as number[] }))
  for (let round = -1; round < options.rounds; round++) {
    for (const { bodies, us } of costs) {
      const before = gateway.cpu.readMs()
      await drive(gateway.port, CONNECTIONS, requests, (i) => bodies[i % bodies.length]!, isAccepted)
      await pause(20)
      // The first round warms up.
      if (round >= 0) us.push(((gateway.cpu.readMs() - before) * 1_000) / (requests * BATCH))
    }
  }
  report.add({
    section: `GraphQL${onStore(kind)}: CPU a point, against the same batch by REST`,
    name,
    measured: median(costs[0]!.us),
    unit: 'µs',
    floor: median(costs[1]!.us),
    budget: BUDGET_REST,
  })
}

const values = randomNumbers(7)

function pointOf(i: number) {
  return {
    name: 'http.request.duration',
    type: 'DISTRIBUTION',
    value: latency(values),
    tags: { endpoint: `/api/v1/resource-${i % SERIES}`, method: 'GET', region: 'eu-west-1', status: '200' },
  }
}

function scenarios(quick: boolean): readonly Scenario[] {
  const body = (query: string, variables: object) =>
    postBytes('/graphql', API_KEY, JSON.stringify({ query, variables }))
  const variants = <T>(make: (i: number) => T): T[] => Array.from({ length: VARIANTS }, (_, i) => make(i))
  const share = quick ? 0.1 : 1
  return [
    {
      name: `trackMetrics of ${BATCH}`,
      requests: 300 * share,
      bodies: variants(() => body(TRACK_BATCH, { metrics: Array.from({ length: BATCH }, (_, i) => pointOf(i)) })),
    },
    { name: 'trackMetric', requests: 4_000 * share, bodies: variants((i) => body(TRACK, { input: pointOf(i) })) },
    {
      name: 'viewer',
      requests: 4_000 * share,
      bodies: [body('{ viewer { project } }', {})],
    },
    {
      name: 'a chart that is cached',
      requests: 2_000 * share,
      bodies: [body(CHART, { metric: 'http.request.duration' })],
    },
  ]
}

function isAccepted({ status, body }: Response): boolean {
  return status === 201 || isData({ status, body })
}

function isData({ status, body }: Response): boolean {
  return status === 200 && body.startsWith('{"data":') && !body.includes('"errors":[{')
}
