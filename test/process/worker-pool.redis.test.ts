import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { apiKeysKey, metaKey } from '../../src/store/redis/keys.ts'
import { type ChildGateway, type Exit, runChild, startChild } from '../support/child-gateway.ts'
import { type RedisServer, startRedis, until } from '../support/redis-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** Several processes behind one port and before one Redis: to whoever sends, they are one gateway. */

let server: RedisServer
let redis: Redis
let prefixes = 0

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
})
afterAll(async () => {
  redis?.disconnect()
  await server?.stop()
})

interface Group {
  readonly gateway: ChildGateway
  readonly prefix: string
  /** What the log says, line by line. */
  readonly log: () => readonly LogLine[]
  /** Process ids of those that were started, in that order. */
  readonly pids: () => readonly number[]
}

interface LogLine {
  readonly msg: string
  /** The one that the line is about. */
  readonly process: number
}

function settingsOf(more: Readonly<Record<string, string>>): Record<string, string> {
  return {
    PORT: '0',
    GATEWAY_PROCESSES: '2',
    LOG_LEVEL: 'info',
    REDIS_URL: server.url,
    REDIS_PREFIX: `p${prefixes++}`,
    FOLD_INBOX_BYTES: '4000',
    FOLD_INBOX_AGE_MS: '50',
    ...more,
  }
}

async function startGroup(more: Readonly<Record<string, string>> = {}): Promise<Group> {
  const settings = settingsOf(more)
  const gateway = await startChild(settings)
  const log = (): LogLine[] =>
    gateway
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine)
  const pids = (): number[] => log().flatMap(({ msg, process: pid }) => (msg === 'a process listens' ? [pid] : []))
  onTestFinished(() => {
    // The others end when the one that started them does.
    gateway.process.kill('SIGKILL')
  })
  return { gateway, prefix: settings['REDIS_PREFIX']!, log, pids }
}

function keyOf({ gateway }: Group): string {
  const keys = gateway.output().match(/gq_[A-Za-z0-9_-]{32} {3}\(/g) ?? []
  expect(keys).toHaveLength(1)
  return keys[0]!.slice(0, -4)
}

interface Load {
  /** Successful requests, each with one point. */
  readonly acknowledged: () => number
  /** Those that failed, and were sent again under the same key. */
  readonly failed: () => number
  /** One for each process that responded. */
  readonly servedBy: ReadonlySet<string>
  end(): Promise<void>
}

const ANSWER_MS_MAX = 5_000

/** Sends points over eight connections at once, each until it is acknowledged or nobody listens any more. */
function load(url: string, key: string): Load {
  const servedBy = new Set<string>()
  let [acknowledged, failed, requests, isOver, isGone] = [0, 0, 0, false, false]
  const sendOne = async (body: string, request: string): Promise<boolean> => {
    try {
      const response = await fetch(`${url}/api/v1/metrics`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'idempotency-key': request },
        body,
        // A connection that was being passed to a killed process gets no response.
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      })
      servedBy.add(response.headers.get('x-request-id')!.split('-')[0]!)
      await response.arrayBuffer()
      return response.status === 201
    } catch (error) {
      const { cause } = error as { cause?: { code?: string } }
      if (cause?.code === 'ECONNREFUSED') isOver = isGone = true
      return false
    }
  }
  const connection = async (_: unknown, i: number): Promise<void> => {
    const body = JSON.stringify({ name: 'hits', type: 'counter', value: 1, tags: { connection: String(i) } })
    while (!isOver) {
      const request = `request-${requests++}`
      while (!(await sendOne(body, request))) {
        failed++
        // A request whose response came too late may be counted, so it is sent again also when the load ends.
        if (isGone) return
      }
      acknowledged++
    }
  }
  const all = Promise.all(Array.from({ length: 8 }, connection))
  return {
    acknowledged: () => acknowledged,
    failed: () => failed,
    servedBy,
    async end() {
      isOver = true
      await all
    },
  }
}

/** Points that are counted, by a query. */
async function countedBy({ url }: { readonly url: string }, key: string): Promise<number> {
  const response = await fetch(`${url}/api/v1/metrics/hits/query?aggregation=sum&interval=1d`, {
    headers: { authorization: `Bearer ${key}` },
  })
  expect(response.status).toBe(200)
  const { data } = (await response.json()) as { data: { series: { value: number }[] } }
  return data.series.reduce((sum, { value }) => sum + value, 0)
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('several processes', () => {
  it('share a port and a key, greet once, and stop together on a signal without losing points', async () => {
    const group = await startGroup({ GATEWAY_PROCESSES: '3' })
    const { gateway } = group
    expect(gateway.output().match(/listens on/g)).toHaveLength(1)
    const key = keyOf(group)
    expect(await redis.hlen(apiKeysKey(group.prefix))).toBe(1)
    // Their log lines may arrive after the greeting of the primary process.
    await until('not every process logged that it listens', () => new Set(group.pids()).size === 3)

    const sent = load(gateway.url, key)
    await until('not every process responded', () => sent.servedBy.size === 3 && sent.acknowledged() > 100)
    const exit = await gateway.kill('SIGTERM')
    await sent.end()
    expect(exit).toMatchObject({ code: 0, signal: null, errors: '' })
    expect(group.pids().filter(isAlive)).toEqual([])

    const again = await startGroup({ GATEWAY_PROCESSES: '1', REDIS_PREFIX: group.prefix })
    const counted = await countedBy(again.gateway, key)
    expect(counted).toBeGreaterThanOrEqual(sent.acknowledged())
    expect(counted).toBeLessThanOrEqual(sent.acknowledged() + sent.failed())
    expect((await again.gateway.kill('SIGINT')).code).toBe(0)
  })

  it('continue to serve when one is killed, which is replaced', async () => {
    const group = await startGroup()
    const { gateway } = group
    const key = keyOf(group)
    const sent = load(gateway.url, key)
    await until('not every process responded', () => sent.servedBy.size === 2 && sent.acknowledged() > 50)
    const [, victim] = group.pids()
    process.kill(victim!, 'SIGKILL')
    const before = sent.acknowledged()
    await until('the other process stopped serving', () => sent.acknowledged() > before + 50)
    await until('no new process was started', () => group.pids().length === 3)
    await until('the new process does not respond', async () => {
      // A connection of its own: those that are open stay where they are.
      const response = await fetch(`${gateway.url}/health`, { headers: { connection: 'close' } })
      await response.arrayBuffer()
      return new Set([...sent.servedBy, response.headers.get('x-request-id')!.split('-')[0]!]).size === 3
    })
    await sent.end()
    // Each request was sent until it was acknowledged, under a key.
    expect(await countedBy(gateway, key)).toBe(sent.acknowledged())
    expect((await gateway.kill('SIGTERM')).code).toBe(0)
    expect(group.pids().filter(isAlive)).toEqual([])
  })

  it('exit when the primary process is killed', async () => {
    const { gateway, pids } = await startGroup()
    await gateway.kill('SIGKILL')
    await until('they live on', () => !pids().some(isAlive))
  })

  it('are started again until they succeed, and the program exits when none is left', async () => {
    const group = await startGroup()
    const { gateway, prefix, pids } = group
    const meta = metaKey(prefix)
    const standing = (await redis.get(meta))!
    await redis.set(meta, standing.replace('"partitions":8', '"partitions":4'))
    process.kill(pids()[0]!, 'SIGKILL')
    const failures = (): number => group.log().filter(({ msg }) => msg.includes('could not start')).length
    await until('it was not tried again', () => failures() >= 2)
    expect((await fetch(`${gateway.url}/health`)).status).toBe(200)
    await redis.set(meta, standing)
    await until('it did not come up', () => pids().length === 3)

    await redis.set(meta, standing.replace('"partitions":8', '"partitions":4'))
    for (const pid of pids()) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    const exit = await gateway.exited
    expect(exit).toMatchObject({ code: 1, signal: null })
    expect(exit.errors).toMatch(/partitions 4, not 8\n$/)
  }, 90_000)
})

/** A connection of its own, which stays with the process that took it. */
function connectTo(url: string, key: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => agent.destroy())
  const send = (method: string, path: string, body?: object) =>
    new Promise<{ readonly servedBy: string; readonly status: number; readonly body: string }>((resolve, reject) => {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
      const sending = request(url + path, { agent, method, headers }, (response) => {
        const servedBy = String(response.headers['x-request-id']).split('-')[0]!
        text(response).then((body) => resolve({ servedBy, status: response.statusCode!, body }), reject)
      })
      sending.on('error', reject)
      sending.end(body === undefined ? undefined : JSON.stringify(body))
    })
  return {
    servedBy: async () => (await send('GET', '/health')).servedBy,
    async track(points: number): Promise<void> {
      for (let i = 0; i < points; i++) {
        const { status } = await send('POST', '/api/v1/metrics', { name: 'hits', type: 'counter', value: 1 })
        expect(status).toBe(201)
      }
    },
    async scrape(): Promise<{ readonly points: number; readonly commits: number; readonly processes: number }> {
      const { status, body } = await send('GET', '/metrics')
      expect(status).toBe(200)
      const value = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(body)?.[1])
      return {
        points: value('gaugeql_points_total'),
        commits: value('gaugeql_commit_seconds_count'),
        processes: value('gaugeql_processes'),
      }
    },
  }
}

describe('the metrics of several processes', () => {
  it('cover all processes, and counters do not decrease when one hangs or is killed', async () => {
    const group = await startGroup()
    const { url } = group.gateway
    const key = keyOf(group)
    const connections = new Map<string, ReturnType<typeof connectTo>>()
    await until('not every process responded', async () => {
      const connection = connectTo(url, key)
      connections.set(await connection.servedBy(), connection)
      return connections.size === 2
    })
    const both = [...connections.values()]
    await Promise.all(both.map((connection, i) => connection.track(20 + i)))
    const [first] = await Promise.all(both.map((connection) => connection.scrape()))
    expect(first).toMatchObject({ points: 41, processes: 2 })
    expect(first!.commits).toBeGreaterThanOrEqual(2)
    for (const connection of [...both, ...both])
      expect(await connection.scrape()).toMatchObject({ points: 41, processes: 2 })

    const [victim] = group.pids()
    process.kill(victim!, 'SIGSTOP')
    onTestFinished(() => {
      if (isAlive(victim!)) process.kill(victim!, 'SIGKILL')
    })
    // One of the two hangs, and is heard of when it is killed.
    const readings = both.map((connection) => connection.scrape())
    const outcomes = Promise.allSettled(readings)
    const hung = await Promise.any(readings)
    expect(hung).toMatchObject({ points: 41, processes: 1 })
    expect(hung.commits).toBeGreaterThanOrEqual(first!.commits)
    process.kill(victim!, 'SIGKILL')
    const alive = both[(await outcomes).findIndex(({ status }) => status === 'fulfilled')]!

    await until('no new process responds', async () => {
      const { points, commits, processes } = await alive.scrape()
      expect(points).toBe(41)
      expect(commits).toBeGreaterThanOrEqual(hung.commits)
      return processes === 2
    })
    await alive.track(9)
    expect(await alive.scrape()).toMatchObject({ points: 50, processes: 2 })
    expect((await group.gateway.kill('SIGTERM')).code).toBe(0)
  }, 60_000)
})

describe('several processes of which one cannot start', () => {
  const reasons = ({ errors }: Exit): string[] => errors.trim().split('\n')

  it('report the reason once', async () => {
    const REDIS_PREFIX = 'other-shape'
    await (await startGroup({ REDIS_PREFIX, PARTITIONS: '4' })).gateway.kill('SIGTERM')
    const exit = await runChild(settingsOf({ REDIS_PREFIX, LOG_LEVEL: 'silent' }))
    expect(exit).toMatchObject({ code: 1, output: '' })
    expect(reasons(exit)).toEqual([expect.stringMatching(/^GaugeQL could not start: .* partitions 4, not 8$/)])
  })

  it('report that the port is in use', async () => {
    const { gateway } = await startGroup()
    const { port } = new URL(gateway.url)
    const exit = await runChild(settingsOf({ PORT: port, LOG_LEVEL: 'silent' }))
    expect(exit).toMatchObject({ code: 1, output: '' })
    expect(reasons(exit)).toEqual([expect.stringMatching(`in use.*:${port}$`)])
  })

  it('need Redis, and the message names the variable', async () => {
    const exit = await runChild({ GATEWAY_PROCESSES: '2', DATA_DIR: await temporaryFolder() })
    expect(exit).toMatchObject({ code: 1, output: '' })
    expect(reasons(exit)).toEqual([expect.stringMatching(/^GaugeQL could not start: GATEWAY_PROCESSES .*Redis/)])
  })
})
