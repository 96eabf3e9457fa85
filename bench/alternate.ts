import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Fleet } from './fleet.ts'
import { drive, get, type Response } from './load.ts'
import { median, percentile } from './report.ts'
import {
  API_KEY,
  measureIdleShare,
  pause,
  type ServerProcess,
  startFloor,
  startGateway,
  untilIdle,
} from './server-process.ts'
import { openStore, type StoreKind } from './store.ts'

/**
 * Sends the same load to the gateway and to the floors in alternating rounds, so that other work of the machine affects
 * all of them alike. The CPU of the gateway and of its store's server is counted until its folds are done, less what it
 * uses when idle.
 */
export interface Comparison {
  readonly fleet: Fleet
  readonly pointsPerRequest: number
  readonly connections: number
  readonly requests: number
  readonly rounds: number
  readonly entry: string
  readonly store: StoreKind
  readonly profileDir: string | undefined
}

export interface Costs {
  /** CPU µs a point. */
  readonly gateway: number
  /** The part that the store's server used. */
  readonly store: number
  readonly discard: number
  readonly parse: number
  /** The part that the gateway used after its last response: most of the folds. */
  readonly afterwards: number
  readonly pointsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const FOLD_AGE_MS = 2_000
const TICK_MS = 1_000

export async function compare(comparison: Comparison): Promise<Costs> {
  const { fleet, pointsPerRequest, connections, requests, rounds, entry, store: kind, profileDir } = comparison
  const dataDir = mkdtempSync(join(tmpdir(), 'bench-ingest-'))
  const store = await openStore(kind, dataDir)
  const gateway = await startGateway({ entry, store, profileDir, env: { FOLD_INBOX_AGE_MS: String(FOLD_AGE_MS) } })
  const servers = [await startFloor('discard'), await startFloor('parse'), gateway]
  const costs = new Map<ServerProcess, number[]>(servers.map((server) => [server, []]))
  const storeCosts: number[] = []
  const afterwards: number[] = []
  const rates: number[] = []
  const p50s: number[] = []
  const p99s: number[] = []
  let sent = 0
  try {
    const idleShare = await measureIdleShare(gateway)
    const send = async (server: ServerProcess, count: number) => {
      if (server === gateway) sent += count * pointsPerRequest
      return drive(server.port, connections, count, fleet.next, isAccepted)
    }
    // Warms up: fills the caches of series, and lets code be compiled.
    for (const server of servers) await send(server, Math.max(fleet.groups, requests))
    await pause(FOLD_AGE_MS + TICK_MS)
    await untilIdle(gateway, idleShare)
    for (let round = 0; round < rounds; round++) {
      for (const server of servers) {
        const idle = server === gateway ? idleShare : 0
        const startMs = performance.now()
        const before = server.cpu.readMs()
        const storeBefore = server.storeCpu.readMs()
        const { wallMs, latenciesMs } = await send(server, requests)
        const respondedMs = server.cpu.readMs()
        if (server === gateway) {
          await pause(FOLD_AGE_MS + TICK_MS)
          await untilIdle(gateway, idleShare)
          rates.push((requests * pointsPerRequest) / (wallMs / 1_000))
          p50s.push(percentile(latenciesMs, 0.5))
          p99s.push(percentile(latenciesMs, 0.99))
        } else await pause(50)
        const usedMs = server.cpu.readMs() - before - (performance.now() - startMs) * idle
        const perPoint = (ms: number): number => (ms * 1_000) / (requests * pointsPerRequest)
        if (server === gateway) {
          afterwards.push(perPoint(server.cpu.readMs() - respondedMs))
          storeCosts.push(perPoint(server.storeCpu.readMs() - storeBefore))
        }
        costs.get(server)!.push(perPoint(usedMs))
      }
    }
    await checkPoints(gateway, fleet, sent)
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
    await store.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
  const [discard, parse, own] = servers.map((server) => median(costs.get(server)!))
  return {
    gateway: own!,
    store: median(storeCosts),
    discard: discard!,
    parse: parse!,
    afterwards: median(afterwards),
    pointsPerSecond: median(rates),
    p50Ms: median(p50s),
    p99Ms: median(p99s),
  }
}

function isAccepted({ status, body }: Response): boolean {
  return status === 202 || (status === 201 && !body.includes('"errors"'))
}

/** Fails when points were lost: a gateway that loses points would look fast. */
async function checkPoints(gateway: ServerProcess, fleet: Fleet, sent: number): Promise<void> {
  let stored = 0
  for (const name of fleet.metricNames()) {
    const { body } = await get(gateway.port, API_KEY, `/api/v1/metrics/${name}`)
    stored += Number(/"data_points":(\d+)/.exec(body)?.[1] ?? Number.NaN)
  }
  if (stored !== sent) throw new Error(`${sent} points were accepted, ${stored} are stored`)
}
