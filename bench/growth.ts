import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CpuMeter } from './cpu.ts'
import { createFleet, type Fleet } from './fleet.ts'
import { drive, get, postBytes } from './load.ts'
import type { Options } from './options.ts'
import { median, type Report } from './report.ts'
import { API_KEY, measureIdleShare, pause, type ServerProcess, startGateway, untilIdle } from './server-process.ts'
import { type BenchStore, onStore, openStore, type StoreKind } from './store.ts'

/**
 * How costs grow: of a point with the number of series, of a query over a fixed range with the length of the history,
 * and of a point with the number of gateways that share a Redis.
 */
const BATCH = 500
const CONNECTIONS = 2
const METRICS = 20
const SERIES = [1_000, 10_000, 100_000, 1_000_000]
const POINTS_MIN = 1_000_000

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000
/** Groups of gateways: the name, the number of Redis servers and of gateways. */
const GATEWAY_GROUPS = [
  ['one', 1, 1],
  ['two with a Redis each', 2, 2],
  ['two with one Redis', 1, 2],
] as const
const GATEWAY_ROUNDS = 5
/** Two gateways that share a Redis must take this many times the points of one. */
const SCALE_GOAL = 1.8

const HISTORY_SERIES = 100
const HISTORY_HOURS = [1, 24, 720]
const QUERIES = 200

const FOLD_ENV = { FOLD_INBOX_AGE_MS: '2000' }
const FOLD_WAIT_MS = 3_000

export async function measureGrowth(
  report: Report,
  options: Options,
  kind: StoreKind,
  profileDir: string | undefined,
): Promise<void> {
  const onGateway = async (name: string, measure: (gateway: ServerProcess) => Promise<void>): Promise<void> => {
    const folder = mkdtempSync(join(tmpdir(), 'bench-growth-'))
    const store = await openStore(kind, folder)
    const env = FOLD_ENV
    const gateway = await startGateway({
      entry: options.entry,
      store,
      env,
      profileDir: profileDir && join(profileDir, name),
    })
    try {
      await measure(gateway)
    } finally {
      await gateway.stop()
      await store.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
  for (const series of options.quick ? SERIES.slice(0, 2) : SERIES) {
    if (!`${series} series`.includes(options.filter)) continue
    await onGateway(`${series}`, (gateway) => measureSeries(report, kind, gateway, series))
  }
  for (const hours of options.quick ? HISTORY_HOURS.slice(0, 2) : HISTORY_HOURS) {
    if (!`${hours} h of history`.includes(options.filter)) continue
    await onGateway(`${hours}-h`, (gateway) => measureHistory(report, kind, gateway, hours))
  }
  if (kind === 'redis' && 'gateways'.includes(options.filter)) await measureGateways(report, options)
}

/** Gateways with their stores, and the load that each of them takes. */
interface GatewayGroup {
  readonly name: string
  readonly stores: readonly BenchStore[]
  readonly gateways: readonly ServerProcess[]
  readonly fleets: readonly Fleet[]
  /** CPU µs a point of every round: of the gateways, and of the Redis servers. */
  readonly own: number[]
  readonly inRedis: number[]
}

/**
 * CPU µs a point of gateways that share a Redis. The machine may have fewer cores than the processes need, so their
 * throughput cannot be measured directly, and processes that compete for cores need more CPU for the same work. So two
 * gateways with one Redis are compared to two with a Redis each, under the same load in turn: those share nothing, so
 * on cores of their own they take twice the points of one. One gateway alone is measured too, for its absolute cost.
 */
async function measureGateways(report: Report, options: Options): Promise<void> {
  const section = 'growth, on Redis: CPU µs a point of all gateways, 1,000 series and 20 metrics each'
  const folder = mkdtempSync(join(tmpdir(), 'bench-gateways-'))
  const groups: GatewayGroup[] = []
  const requests = (options.quick ? 50_000 : POINTS_MIN) / BATCH
  try {
    for (const [name, stores, gateways] of GATEWAY_GROUPS)
      groups.push(await startGroup(name, join(folder, name), stores, gateways, options.entry))
    for (const group of groups) await load(group, requests)
    for (let round = 0; round < GATEWAY_ROUNDS; round++) {
      for (const group of groups) {
        const meters = [group.gateways.map(({ pid }) => pid), group.stores.flatMap(({ pids }) => pids)].map(
          (pids) => new CpuMeter(pids),
        )
        const before = meters.map((meter) => meter.readMs())
        await load(group, requests)
        const points = requests * BATCH * group.gateways.length
        const [own, inRedis] = meters.map((meter, i) => ((meter.readMs() - before[i]!) * 1_000) / points)
        group.own.push(own!)
        group.inRedis.push(inRedis!)
      }
    }
    const [alone, apart, together] = groups.map(({ own }) => median(own))
    for (const group of groups)
      report.add({
        section,
        name: group.name,
        measured: median(group.own),
        unit: 'µs',
        note: `${median(group.inRedis).toFixed(2)} µs in Redis`,
      })
    report.add({
      section,
      name: 'two with one Redis, against two with a Redis each',
      measured: together!,
      unit: 'µs',
      floor: apart!,
      budget: Math.round((2 / SCALE_GOAL) * 100) / 100,
      note: `${((2 * apart!) / together!).toFixed(2)} × the points of one; ${((2 * alone!) / together!).toFixed(2)} × against one alone`,
    })
  } finally {
    for (const { gateways, stores } of groups) {
      for (const gateway of gateways) await gateway.stop()
      for (const store of stores) await store.stop()
    }
    rmSync(folder, { recursive: true, force: true })
  }
}

async function startGroup(
  name: string,
  folder: string,
  storeCount: number,
  gatewayCount: number,
  entry: string,
): Promise<GatewayGroup> {
  const stores: BenchStore[] = []
  for (let i = 0; i < storeCount; i++) stores.push(await openStore('redis', join(folder, String(i))))
  const gateways: ServerProcess[] = []
  for (let i = 0; i < gatewayCount; i++) {
    const store = { ...stores[i % storeCount]!, pids: [] }
    gateways.push(await startGateway({ entry, store, env: { ...FOLD_ENV, ...store.env } }))
  }
  const fleets = gateways.map(() => createFleet({ series: 1_000, metrics: METRICS, batch: BATCH, clock: 'now' }))
  return { name, stores, gateways, fleets, own: [], inRedis: [] }
}

/** Each gateway takes its requests at the same time as the others. Resolves when all is folded. */
async function load({ gateways, fleets }: GatewayGroup, requests: number): Promise<void> {
  await Promise.all(
    gateways.map(({ port }, i) => drive(port, CONNECTIONS, requests, fleets[i]!.next, ({ status }) => status === 201)),
  )
  await pause(FOLD_WAIT_MS)
  for (const gateway of gateways) await untilIdle(gateway, await measureIdleShare(gateway))
}

/** CPU µs a point: of the first points of all series, and of further points of the same series. */
async function measureSeries(report: Report, kind: StoreKind, gateway: ServerProcess, series: number): Promise<void> {
  const section = `growth${onStore(kind)}: CPU µs a point by number of series, ${METRICS} metrics`
  const fleet = createFleet({ series, metrics: METRICS, batch: BATCH, clock: 'now' })
  const idleShare = await measureIdleShare(gateway)
  const measure = (requests: number) =>
    cpuMsOf(gateway, idleShare, async () => {
      await drive(gateway.port, CONNECTIONS, requests, fleet.next, ({ status }) => status === 202 || status === 201)
      await pause(FOLD_WAIT_MS)
      await untilIdle(gateway, idleShare)
    })
  const first = await measure(fleet.groups)
  const requests = Math.max(fleet.groups, POINTS_MIN / BATCH)
  // A few points of a new process would measure the compilation of its code.
  if (series < POINTS_MIN) await measure(requests)
  const known = await measure(requests)
  const name = `${series.toLocaleString('en-US')} series`
  report.add({ section, name: `${name}, first points`, measured: (first * 1_000) / series, unit: 'µs' })
  report.add({ section, name: `${name}, further points`, measured: (known * 1_000) / (requests * BATCH), unit: 'µs' })
}

/** CPU ms of a query over the last hour of a longer history. */
async function measureHistory(report: Report, kind: StoreKind, gateway: ServerProcess, hours: number): Promise<void> {
  const toMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS
  const minutes = hours * 60
  const idleShare = await measureIdleShare(gateway)
  const minutesPerBatch = BATCH / HISTORY_SERIES
  const next = (request: number): Uint8Array => {
    const items: string[] = []
    for (let minute = request * minutesPerBatch; minute < (request + 1) * minutesPerBatch; minute++) {
      const timeMs = toMs - (minutes - minute) * MINUTE_MS
      for (let series = 0; series < HISTORY_SERIES; series++)
        items.push(`{"name":"requests","type":"counter","value":1,"timestamp":${timeMs},"tags":{"host":"h${series}"}}`)
    }
    return postBytes('/api/v1/metrics/batch', API_KEY, `[${items.join(',')}]`)
  }
  await drive(gateway.port, CONNECTIONS, minutes / minutesPerBatch, next, ({ status }) => status === 201)
  await pause(FOLD_WAIT_MS)
  await untilIdle(gateway, idleShare)
  const path = `/api/v1/metrics/requests/query?from=${toMs - HOUR_MS}&to=${toMs - 1}&aggregation=sum&interval=1m`
  const costs: number[] = []
  for (let round = 0; round < 5; round++) {
    const usedMs = await cpuMsOf(gateway, idleShare, async () => {
      for (let i = 0; i < QUERIES; i++) {
        const { status, body } = await get(gateway.port, API_KEY, path)
        const buckets = body.split(`"value":${HISTORY_SERIES}`).length - 1
        if (status !== 200 || buckets !== 60)
          throw new Error(`${buckets} buckets of 60: ${status} ${body.slice(0, 500)}`)
      }
    })
    costs.push(usedMs / QUERIES)
  }
  const section = `growth${onStore(kind)}: CPU ms of a query over the last hour by length of history, ${HISTORY_SERIES} series, a point a minute`
  report.add({ section, name: `${hours} h of history`, measured: median(costs), unit: 'ms' })
}

/** CPU ms that the gateway uses during `work`, less what it uses when idle. */
async function cpuMsOf(gateway: ServerProcess, idleShare: number, work: () => Promise<void>): Promise<number> {
  const startMs = performance.now()
  const before = gateway.cpu.readMs()
  await work()
  return gateway.cpu.readMs() - before - (performance.now() - startMs) * idleShare
}
