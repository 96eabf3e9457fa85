import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { CpuMeter } from './cpu.ts'
import type { BenchStore } from './store.ts'

/** A measured server in its own process. It is ready when it has printed its address. */
export interface ServerProcess {
  readonly name: string
  readonly port: number
  readonly pid: number
  /** CPU of the process and of the store's server, if there is one. */
  readonly cpu: CpuMeter
  /** The part that the store's server used. */
  readonly storeCpu: CpuMeter
  stop(): Promise<void>
}

export const API_KEY = 'benchkey123'

/**
 * The flags of `npm start` that affect costs: a young generation of 24 MB instead of 48, a collection of the old
 * generation when it has doubled (by default it may grow to almost four times its size before), and two threads for
 * garbage collection instead of four, so that they leave the main thread its share of two cores.
 */
const NODE_FLAGS = ['--max-semi-space-size=8', '--heap-growing-percent=50', '--v8-pool-size=2']

const START_MS_MAX = 20_000

export interface GatewayOptions {
  readonly entry: string
  readonly store: BenchStore
  readonly env?: Readonly<Record<string, string>>
  /** The folder for profiles. Undefined: no profile is taken. */
  readonly profileDir?: string | undefined
}

export function startGateway({ entry, store, env = {}, profileDir }: GatewayOptions): Promise<ServerProcess> {
  const profiling =
    profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`, '--cpu-prof-interval=400']
  const settings = {
    PORT: '0',
    API_KEYS: `${API_KEY}:bench:ingest+query+admin`,
    LOG_LEVEL: 'warn',
    RATE_LIMITS: 'off',
    ...store.env,
    ...env,
  }
  return startServer('gateway', [...profiling, ...NODE_FLAGS, entry], settings, store.pids)
}

/** Starts stock graphql-yoga with the same schema. */
export function startYoga(store: BenchStore): Promise<ServerProcess> {
  const settings = { PORT: '0', API_KEYS: `${API_KEY}:bench:ingest+query+admin`, ...store.env }
  return startServer('yoga', [fileURLToPath(new URL('yoga.js', import.meta.url))], settings, store.pids)
}

/**
 * `discard` reads the body and drops it; `parse` also parses it; `sync` parses it and writes a part of it to the file
 * at `path`, synced to disk.
 */
export function startFloor(kind: 'discard' | 'parse'): Promise<ServerProcess>
export function startFloor(kind: 'sync', path: string): Promise<ServerProcess>
export function startFloor(kind: string, ...path: readonly string[]): Promise<ServerProcess> {
  return startServer(kind, [fileURLToPath(new URL('floors.js', import.meta.url)), kind, ...path], {})
}

async function startServer(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  storePids: readonly number[] = [],
): Promise<ServerProcess> {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  running.add(child)
  const ended = new Promise<void>((resolve) =>
    child.once('exit', () => {
      running.delete(child)
      resolve()
    }),
  )
  const port = await portOf(name, child)
  const pid = child.pid!
  return {
    name,
    port,
    pid,
    cpu: new CpuMeter([pid, ...storePids]),
    storeCpu: new CpuMeter(storePids),
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

function portOf(name: string, child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let output = ''
    const timer = setTimeout(() => reject(new Error(`${name} printed no address: ${output}`)), START_MS_MAX)
    child.once('exit', (code) => reject(new Error(`${name} ended with code ${code}: ${output}`)))
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      output += text
      const port = /http:\/\/[^\s/]+:(\d+)/.exec(output)?.[1]
      if (port === undefined) return
      clearTimeout(timer)
      resolve(Number(port))
    })
  })
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const IDLE_WAIT_MS_MAX = 120_000

/** Resolves when the server has been idle for about a second, that is, used no more CPU than without requests. */
export async function untilIdle(server: ServerProcess, idleShare: number): Promise<void> {
  const untilMs = performance.now() + IDLE_WAIT_MS_MAX
  let quiet = 0
  while (quiet < 4) {
    const before = server.cpu.readMs()
    await pause(300)
    const used = server.cpu.readMs() - before
    quiet = used <= 300 * idleShare + 5 ? quiet + 1 : 0
    if (performance.now() > untilMs) throw new Error(`${server.name} does not become idle`)
  }
}

/** CPU time per wall-clock time of a server without requests. */
export async function measureIdleShare(server: ServerProcess): Promise<number> {
  await pause(500)
  const before = server.cpu.readMs()
  await pause(2_000)
  return (server.cpu.readMs() - before) / 2_000
}
