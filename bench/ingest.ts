import { join } from 'node:path'
import { type Costs, compare } from './alternate.ts'
import { createFleet, type Dialect, type FleetOptions, type FleetType } from './fleet.ts'
import type { Options } from './options.ts'
import { measureRedisFloors } from './redis-floors.ts'
import type { Report } from './report.ts'
import { onStore, type StoreKind } from './store.ts'

const BATCH = 500
/** A usual time between two points of a series. */
const REPORT_EVERY_MS = 15_000
const BUDGET = 1.5
const BUDGET_SINGLE = 1.3
const BUDGET_MANY_SERIES = 1.5

interface Scenario {
  readonly series: number
  readonly metrics: number
  readonly connections: number
  readonly clock: 'now' | number
  readonly dialect?: Dialect
  readonly type?: FleetType
  readonly isNewEachTime?: boolean
}

/** Measures batches of 500. */
export async function measureIngest(
  report: Report,
  options: Options,
  store: StoreKind,
  profileDir: string | undefined,
): Promise<void> {
  const section = `ingest${onStore(store)}: batches of 500, CPU a point until the inbox is empty`
  const few: Scenario[] = [1, 2, 32].flatMap((connections) =>
    [1, 20].map((metrics): Scenario => ({ series: 1_000, metrics, connections, clock: 'now' })),
  )
  const many = [1, 20].map((metrics): Scenario => ({ series: 100_000, metrics, connections: 2, clock: 'now' }))
  const spread: Scenario = { series: 1_000, metrics: 20, connections: 2, clock: REPORT_EVERY_MS }
  const dialects = (['json', 'ndjson', 'msgpack'] as const).map(
    (dialect): Scenario => ({ series: 1_000, metrics: 20, connections: 2, clock: 'now', dialect }),
  )
  const sets: Scenario = { series: 50, metrics: 1, connections: 2, clock: 'now', type: 'set' }
  const firstSight: Scenario = { series: 100_000, metrics: 20, connections: 2, clock: 'now', isNewEachTime: true }
  const costs = new Map<string, number>()
  if (store === 'redis') await measureRedisFloors(report, section, BATCH, options.filter)
  for (const scenario of [...few, spread, ...dialects, sets, ...many, firstSight]) {
    const { series, metrics, connections, clock, dialect = 'flux', type, isNewEachTime = false } = scenario
    const name = `${series.toLocaleString('en-US')} series, ${metrics} metric${metrics === 1 ? '' : 's'}, ${connections} conn${clock === 'now' ? '' : ', 15 s apart'}${dialect === 'flux' ? '' : `, Better Stack ${dialect}`}${type === undefined ? '' : `, ${type}s`}${isNewEachTime ? ', first sight' : ''}`
    if (!name.includes(options.filter)) continue
    const fleet = createFleet({ ...scenario, batch: BATCH })
    const points = pointsOf(scenario, options.quick)
    const { rounds, entry } = options
    const cost = await compare({
      fleet,
      pointsPerRequest: BATCH,
      connections,
      requests: points / BATCH,
      rounds,
      entry,
      store,
      profileDir: partOf(profileDir, name),
    })
    const note = `${Math.round(cost.pointsPerSecond / 1_000)} k points/s, p50 ${cost.p50Ms.toFixed(1)} ms, p99 ${cost.p99Ms.toFixed(1)} ms, ${cost.afterwards.toFixed(2)} µs after the last response, discard ${cost.discard.toFixed(2)} µs${inRedis(store, cost)}`
    report.add({ section, name, measured: cost.gateway, unit: 'µs', floor: cost.parse, budget: BUDGET, note })
    if (dialect === 'flux' && type === undefined && !isNewEachTime)
      costs.set(`${series}/${metrics}/${connections}/${clock}`, cost.gateway)
  }
  for (const metrics of [1, 20]) {
    const known = costs.get(`1000/${metrics}/2/now`)
    const wide = costs.get(`100000/${metrics}/2/now`)
    if (known === undefined || wide === undefined) continue
    report.add({
      section,
      name: `100,000 series against 1,000, ${metrics} metrics`,
      measured: wide,
      unit: 'µs',
      floor: known,
      budget: BUDGET_MANY_SERIES,
    })
  }
}

/** The points of a round. */
function pointsOf({ series, clock, isNewEachTime = false }: Scenario, quick: boolean): number {
  if (isNewEachTime) return series
  if (quick) return Math.max(50_000, series)
  // Points with a clock of their own must not be too far in the future.
  return clock === 'now' ? Math.max(600_000, 2 * series) : 150_000
}

/** Measures requests with one point. */
export async function measureSingle(
  report: Report,
  options: Options,
  store: StoreKind,
  profileDir: string | undefined,
): Promise<void> {
  const section = `one point a request${onStore(store)}: CPU a request until the inbox is empty`
  const mixed = { series: 1_000, metrics: 20, batch: 1, clock: 'now' } as const
  const scenarios: readonly (readonly [connections: number, FleetOptions])[] = [
    [1, mixed],
    [32, mixed],
    [64, { ...mixed, series: 1, metrics: 1, type: 'counter' }],
  ]
  for (const [connections, fleetOptions] of scenarios) {
    const { series, metrics, type } = fleetOptions
    const name = `${series.toLocaleString('en-US')} series, ${metrics} metric${metrics === 1 ? '' : 's'}, ${connections} conn${type === undefined ? '' : `, ${type}s`}`
    if (!name.includes(options.filter)) continue
    const fleet = createFleet(fleetOptions)
    const requests = (options.quick ? 1_000 : 4_000) * (connections === 1 ? 1 : 5)
    const { rounds, entry } = options
    const cost = await compare({
      fleet,
      pointsPerRequest: 1,
      connections,
      requests,
      rounds,
      entry,
      store,
      profileDir: partOf(profileDir, name),
    })
    const note = `${Math.round(cost.pointsPerSecond).toLocaleString('en-US')} requests/s, p50 ${cost.p50Ms.toFixed(2)} ms, p99 ${cost.p99Ms.toFixed(2)} ms, ${cost.afterwards.toFixed(1)} µs after the last response, discard ${cost.discard.toFixed(1)} µs${inRedis(store, cost)}`
    report.add({ section, name, measured: cost.gateway, unit: 'µs', floor: cost.parse, budget: BUDGET_SINGLE, note })
  }
}

function inRedis(kind: StoreKind, { store }: Costs): string {
  return kind === 'redis' ? `; ${store.toFixed(2)} µs of all in Redis` : ''
}

function partOf(profileDir: string | undefined, name: string): string | undefined {
  return profileDir === undefined ? undefined : join(profileDir, name)
}
