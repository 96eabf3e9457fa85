import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat, truncate } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { installedProgram } from './installed-program.ts'

/**
 * Real servers for tests: each on a free port of the loopback, with a folder of its own that goes when it stops. Tests
 * never skip for want of a server: it is installed where that is allowed, else the test fails and says what to install.
 */
export interface RedisServer {
  readonly port: number
  readonly url: string
  readonly pid: number
  readonly folder: string
  /** Stops the process and starts it again on the same port and folder; resolves when it answers. */
  restart(signal?: NodeJS.Signals): Promise<void>
  /** Kills it where it stands; resolves when it is gone. */
  kill(): Promise<void>
  /** Bytes of the file to which it appends every change since it was first started. */
  appended(): Promise<number>
  /**
   * Kills it and starts it again with only so much of that file, and of that only whole transactions: it has forgotten
   * what came later.
   */
  cutBack(bytes: number): Promise<void>
  /** Sends a signal, such as SIGSTOP, SIGCONT or SIGKILL. */
  signal(signal: NodeJS.Signals): void
  /** Starts it again after it was killed. */
  start(): Promise<void>
  stop(): Promise<void>
}

export interface RedisServerOptions {
  /** AOF with a sync every second; off, nothing is on disk. */
  readonly appendonly?: boolean
  /** More of the command line: `['--maxmemory-policy', 'allkeys-lru']`. */
  readonly args?: readonly string[]
}

export interface RedisCluster {
  /** `host:port` of every master. */
  readonly nodes: readonly string[]
  readonly servers: readonly RedisServer[]
  stop(): Promise<void>
}

const START_MS_MAX = 20_000
const POLL_PAUSE_MS = 20

let found: string | undefined

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'gaugeql-redis-'))
  const [port] = await freePorts(1)
  const args = options.args ?? []
  const server = new OwnServer(folder, port!, [
    ...(options.appendonly === true ? ['--appendonly', 'yes', '--appendfsync', 'everysec'] : ['--appendonly', 'no']),
    ...args,
  ])
  await server.start()
  return server
}

/** Three masters without replicas, every slot served. */
export async function startCluster(options: RedisServerOptions = {}): Promise<RedisCluster> {
  const ports = await freePorts(6)
  const servers = await Promise.all(
    ports.slice(0, 3).map(async (port, i) => {
      const folder = await mkdtemp(join(tmpdir(), 'gaugeql-redis-'))
      const server = new OwnServer(folder, port, [
        ...['--cluster-enabled', 'yes', '--cluster-port', String(ports[3 + i]), '--cluster-node-timeout', '2000'],
        ...(options.appendonly === true
          ? ['--appendonly', 'yes', '--appendfsync', 'everysec']
          : ['--appendonly', 'no']),
        ...(options.args ?? []),
      ])
      await server.start()
      return server
    }),
  )
  const nodes = servers.map(({ port }) => `127.0.0.1:${port}`)
  await joinCluster(servers, ports.slice(3))
  return {
    nodes,
    servers,
    async stop() {
      await Promise.all(servers.map((server) => server.stop()))
    },
  }
}

const SLOTS = 16_384

/** By hand: `redis-cli --cluster create` expects each bus port 10,000 above the port, and there need not be one. */
async function joinCluster(servers: readonly OwnServer[], busPorts: readonly number[]): Promise<void> {
  const clients = servers.map(({ port }) => new Redis(port, '127.0.0.1'))
  try {
    for (const [i, client] of clients.entries()) {
      const from = Math.floor((SLOTS * i) / clients.length)
      const to = Math.floor((SLOTS * (i + 1)) / clients.length) - 1
      await client.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
      if (i > 0) await clients[0]!.call('CLUSTER', 'MEET', '127.0.0.1', servers[i]!.port, busPorts[i]!)
    }
    for (const client of clients) {
      await until('the cluster did not form', async () => {
        const info = String(await client.call('CLUSTER', 'INFO'))
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${clients.length}`)
      })
    }
  } finally {
    for (const client of clients) client.disconnect()
  }
}

/** A worker that ends without stopping its servers leaves none behind. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

class OwnServer implements RedisServer {
  readonly folder: string
  readonly port: number
  readonly #args: readonly string[]
  #process: ChildProcess | undefined
  /** Resolves when the process has let go of port and folder. */
  #gone: Promise<void> | undefined

  constructor(folder: string, port: number, args: readonly string[]) {
    this.folder = folder
    this.port = port
    this.#args = args
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  get pid(): number {
    const pid = this.#process?.pid
    if (pid === undefined) throw new Error('the server does not run')
    return pid
  }

  async start(): Promise<void> {
    await this.#gone
    const server = await serverProgram()
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder, '--save', '']
    const child = spawn(server, [...args, '--daemonize', 'no', ...this.#args], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    let output = ''
    const hear = (chunk: Buffer): void => {
      output = (output + chunk).slice(-4_000)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    running.add(child)
    this.#gone = once(child, 'exit').then(() => {
      running.delete(child)
    })
    try {
      await until('redis-server did not start', async () => {
        if (child.exitCode !== null) throw new Error(`redis-server exited with ${child.exitCode}`)
        return responds(this.port)
      })
    } catch (error) {
      child.kill('SIGKILL')
      throw new Error(`${String(error)}: ${output}`, { cause: error })
    }
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal)
  }

  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#end(signal)
    await this.start()
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  async appended(): Promise<number> {
    return (await stat(await this.#appendedFile())).size
  }

  async cutBack(bytes: number): Promise<void> {
    await this.kill()
    const file = await this.#appendedFile()
    await truncate(file, wholeTransactions(await readFile(file), bytes))
    await this.start()
  }

  async #appendedFile(): Promise<string> {
    const folder = join(this.folder, 'appendonlydir')
    const [file, ...others] = (await readdir(folder)).filter((name) => name.endsWith('.incr.aof'))
    if (file === undefined || others.length > 0) throw new Error('there is not one file that grows')
    return join(folder, file)
  }

  async stop(): Promise<void> {
    await this.#end('SIGKILL')
    await rm(this.folder, { recursive: true, force: true })
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    // One that was stopped does not hear anything else.
    child.kill('SIGCONT')
    child.kill(signal)
    await this.#gone
  }
}

/**
 * How many of the first bytes of a file of appended commands are whole transactions. Redis 7 does not run the half of
 * one at the end of the file, but leaves it there, and runs it with what it appends next when it is started once more.
 */
function wholeTransactions(file: Buffer, bytesMax: number): number {
  let at = 0
  let whole = 0
  let isOpen = false
  const number = (): number => {
    const end = file.indexOf('\r\n', at)
    const value = Number(file.toString('latin1', at + 1, end))
    at = end + 2
    return value
  }
  while (at < file.length) {
    let name = ''
    for (let left = number(); left > 0; left--) {
      const length = number()
      name ||= file.toString('latin1', at, at + length).toUpperCase()
      at += length + 2
    }
    if (at > bytesMax) break
    if (name === 'MULTI') isOpen = true
    if (name === 'EXEC') isOpen = false
    if (!isOpen) whole = at
  }
  return whole
}

/** Whether a server answers, be it that it wants a password. One that is still loading does not. */
async function responds(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    socket.write('PING\r\n')
    const [reply] = (await once(socket, 'data')) as [Buffer]
    return /^(\+PONG|-NOAUTH)/.test(reply.toString())
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

export async function until(
  message: string,
  holds: () => Promise<boolean> | boolean,
  msMax = START_MS_MAX,
): Promise<void> {
  const startedMs = Date.now()
  while (!(await holds())) {
    if (Date.now() - startedMs > msMax) throw new Error(message)
    await new Promise((resolve) => setTimeout(resolve, POLL_PAUSE_MS))
  }
}

/** Ports that were free at once, so that they differ. */
export async function freePorts(number: number): Promise<number[]> {
  const listeners = await Promise.all(
    Array.from({ length: number }, async (): Promise<Server> => {
      const listener = createServer().listen(0, '127.0.0.1')
      await once(listener, 'listening')
      return listener
    }),
  )
  const ports = listeners.map((listener) => {
    const address = listener.address()
    if (address === null || typeof address === 'string') throw new Error('a listener without a port')
    return address.port
  })
  await Promise.all(listeners.map((listener) => new Promise((resolve) => listener.close(resolve))))
  return ports
}

async function serverProgram(): Promise<string> {
  found ??= await installedProgram({ names: ['redis-server', 'valkey-server'], packageName: 'redis-server' })
  return found
}
