import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { Redis } from 'ioredis'

/** The stores of a measured gateway: the embedded store in a folder, or a redis-server with its files in a folder. */
export const STORES = ['embedded', 'redis'] as const
export type StoreKind = (typeof STORES)[number]

export interface BenchStore {
  readonly kind: StoreKind
  /** Settings of a gateway that uses this store. */
  readonly env: Readonly<Record<string, string>>
  /** Processes of the store itself. */
  readonly pids: readonly number[]
  /** The size of the data on the disk, or in the memory of the server. */
  bytes(): Promise<number>
  stop(): Promise<void>
}

/** The end of a section's name. */
export function onStore(kind: StoreKind): string {
  return kind === 'redis' ? ', on Redis' : ''
}

export async function openStore(kind: StoreKind, folder: string): Promise<BenchStore> {
  mkdirSync(folder, { recursive: true })
  if (kind === 'redis') return openRedis(folder)
  return {
    kind,
    env: { DATA_DIR: folder },
    pids: [],
    bytes: async () => folderBytes(folder),
    stop: async () => {},
  }
}

async function openRedis(folder: string): Promise<BenchStore> {
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes']
  const child = spawn('redis-server', [...args, '--maxmemory-policy', 'noeviction'], { stdio: 'ignore' })
  running.add(child)
  const ended = once(child, 'exit').then(() => running.delete(child))
  const url = `redis://127.0.0.1:${port}`
  const client = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null })
  client.on('error', () => {})
  const memory = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await client.info('memory'))![1])
  const emptyBytes = await memory()
  return {
    kind: 'redis',
    env: { REDIS_URL: url },
    pids: [child.pid!],
    bytes: async () => (await memory()) - emptyBytes,
    async stop() {
      client.disconnect()
      child.kill('SIGTERM')
      await ended
    },
  }
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  listener.close()
  await once(listener, 'close')
  return port
}

function folderBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(`${parentPath}/${name}`).blocks * 512, 0)
}
