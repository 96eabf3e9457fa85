import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { metricIdOf, partitionOf } from '../../../src/model/metric.ts'
import { seriesIdOf } from '../../../src/model/series.ts'
import { RECEIPT_BOUNDS } from '../../../src/store/idempotency-keys.ts'
import { append } from '../../../src/store/redis/append.ts'
import { defineMetrics, deleteMetric, hasSeries, readMetric, readSeries } from '../../../src/store/redis/catalog.ts'
import {
  type CommandArgument,
  type Connection,
  type Connections,
  connect,
} from '../../../src/store/redis/connection.ts'
import { clearDeleted } from '../../../src/store/redis/deletion.ts'
import { expireEvents, readEvents } from '../../../src/store/redis/events.ts'
import { takePermits } from '../../../src/store/redis/permits.ts'
import { writeReceipt } from '../../../src/store/redis/receipts.ts'
import { RedisAccess } from '../../../src/store/redis/redis-access.ts'
import { SCRIPTS, type ScriptName, scriptSource } from '../../../src/store/redis/scripts.ts'
import { countDistinct } from '../../../src/store/redis/sets.ts'
import { sweepPartition } from '../../../src/store/redis/sweep.ts'
import {
  commitFold,
  expireWindow,
  inboxSize,
  readInbox,
  readIndex,
  takeLease,
  writeBlocks,
} from '../../../src/store/redis/timelines.ts'
import type { CommitPart, IndexEntry, NamedBlock } from '../../../src/store/store.ts'
import { type RedisServer, startRedis } from '../../support/redis-server.ts'

/**
 * Redis does not undo a script that fails half-way. Here the store goes through its verbs, and before each call of a
 * script the same call is made to fail in every way we know: each key in turn holds another type or damaged values,
 * each argument is garbage, one too few or too many. Whenever the script raises an error, every key must be as it was.
 */

let server: RedisServer
let redis: Redis
let connections: Connections

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  connections = await connect({ url: server.url })
})

afterAll(async () => {
  redis?.disconnect()
  connections?.close()
  await server?.stop()
})

type State = ReadonlyMap<string, { readonly dump: string; readonly expires: boolean }>

async function stateOf(): Promise<State> {
  const keys = (await redis.keys('*')).sort()
  const state = new Map<string, { dump: string; expires: boolean }>()
  for (const key of keys) {
    const dump = (await redis.dumpBuffer(key))!
    state.set(key, { dump: dump.toString('latin1'), expires: (await redis.pttl(key)) >= 0 })
  }
  return state
}

async function restore(state: State): Promise<void> {
  await redis.flushall()
  for (const [key, { dump, expires }] of state) {
    await redis.restore(key, expires ? 3_600_000 : 0, Buffer.from(dump, 'latin1'))
  }
}

/** Counting may write the count it found beside the registers. */
async function countAll(): Promise<void> {
  for (const key of await redis.keys('*:set:*')) await redis.pfcount(key)
}

interface Failure {
  readonly script: ScriptName
  readonly what: string
}

const failures: Failure[] = []

async function attempt(
  script: ScriptName,
  what: string,
  keys: readonly string[],
  args: readonly CommandArgument[],
): Promise<void> {
  const before = await stateOf()
  const error = await redis
    .call('eval', [scriptSource(script), keys.length, ...keys, ...args])
    .then(() => undefined)
    .catch((reason: unknown) => reason)
  if (error === undefined) return
  failures.push({ script, what })
  expect(await stateOf(), `${script} with ${what}: ${error}`).toEqual(before)
}

/** Calls `tried` with each member of a sorted set, or value of a hash, replaced by what is no stretch or integer. */
async function tryDamagedValues(key: string, tried: (what: string) => Promise<void>): Promise<void> {
  const type = await redis.type(key)
  if (type === 'zset') {
    const members = await redis.zrange(key, '0', '-1', 'WITHSCORES')
    for (let i = 0; i < members.length; i += 2) {
      for (const damaged of ['x', '1 x']) {
        await redis.zrem(key, members[i]!)
        await redis.zadd(key, Number(members[i + 1]), damaged)
        await tried(`member ${i / 2} of ${key} is ${damaged}`)
      }
    }
  }
  if (type === 'hash') {
    for (const field of await redis.hkeys(key)) {
      for (const damaged of ['x', '1.5']) {
        await redis.hset(key, field, damaged)
        await tried(`field ${field} of ${key} is ${damaged}`)
      }
    }
  }
}

async function failEveryWay(
  script: ScriptName,
  keys: readonly string[],
  args: readonly CommandArgument[],
): Promise<void> {
  await countAll()
  const state = await stateOf()
  const tried = async (
    what: string,
    keysNow: readonly string[],
    argsNow: readonly CommandArgument[],
  ): Promise<void> => {
    await attempt(script, what, keysNow, argsNow)
    await restore(state)
  }
  for (const key of new Set(keys)) {
    const isList = (await redis.type(key)) === 'list'
    await tryDamagedValues(key, (what) => tried(what, keys, args))
    await redis.del(key)
    if (isList) await redis.set(key, 'text')
    else await redis.rpush(key, 'item')
    await tried(`another type in ${key}`, keys, args)
    await redis.set(key, 'text')
    await tried(`text in ${key}`, keys, args)
  }
  for (const at of args.keys()) {
    for (const garbage of ['x', '', '-1', '1e3', '99999999999999999999']) {
      await tried(`argument ${at} is ${garbage}`, keys, args.toSpliced(at, 1, garbage))
    }
  }
  await tried('a key too few', keys.slice(0, -1), args)
  await tried('a key too many', [...keys, 'one-more'], args)
  await tried('an argument too few', keys, args.slice(0, -1))
  await tried('an argument too many', keys, [...args, 'one-more'])
  await tried('nothing', [], [])
}

/** Sends on what it is given, and before each script lets it fail. */
function failingBefore(connection: Connection): Connection {
  const scripts = new Map<unknown, ScriptName>()
  return {
    async call(command, args) {
      if (command === 'eval') {
        const [source, count, ...rest] = args
        const script = SCRIPTS.find((candidate) => scriptSource(candidate) === source)!
        scripts.set(script, script)
        await failEveryWay(script, rest.slice(0, Number(count)).map(String), rest.slice(Number(count)))
      }
      // Never known by its hash, so that each call comes by here with its source.
      if (command === 'evalsha') throw new Error('NOSCRIPT')
      return connection.call(command, args)
    },
    callBuffer: (command, args) => connection.callBuffer(command, args),
  }
}

const NOW = 1_700_006_400_000
const MINUTE = 60_000
const PARTITIONS = 1
const WRITER = 'ab'.repeat(16)
const definition = { project: 'shop', name: 'users', type: 'set' } as const
const metricId = metricIdOf('shop', 'users', 1)
const seriesId = seriesIdOf(metricId, [['host', 'a']])
const windowMs = Math.floor(NOW / (360 * MINUTE)) * 360 * MINUTE
const timeline = { metricId, resolutionMs: MINUTE }
const finerTimeline = { metricId, resolutionMs: 10_000 }

function block(name: string): NamedBlock {
  return { name, scalars: new Uint8Array([1, 2]), sketches: new Uint8Array([3]) }
}

function entry(name: string): IndexEntry {
  return {
    block: name,
    windowMs,
    tier: 0,
    order: 1,
    seriesFrom: seriesId,
    seriesTo: seriesId,
    rollupCount: 1,
    scalarBytes: 2,
    sketchBytes: 1,
  }
}

function part(name: string): CommitPart {
  return {
    marker: { project: 'shop', key: name },
    block: block(name),
    metrics: [{ metricId, generation: 1, definition, points: 1, firstMs: NOW, lastMs: NOW, cumulative: false }],
    series: [{ metricId, seriesId: seriesIdOf(metricId, [['host', name]]), tags: [['host', name]] }],
    members: [{ metricId, seriesId, bucketMs: NOW, members: ['x', name] }],
    events: [{ project: 'shop', id: name, timeMs: NOW, json: '{}' }],
    nowMs: NOW,
  }
}

test('a script that fails has written nothing', { timeout: 240_000 }, async () => {
  const partition = partitionOf('shop', 'users', PARTITIONS)
  const failing: Connections = {
    ...connections,
    common: failingBefore(connections.common),
    commits: failingBefore(connections.commits),
  }
  const access = new RedisAccess(failing, 'gq', PARTITIONS)
  const context = { setResolutions: [MINUTE, 60 * MINUTE], sender: 'me', fenceMs: NOW }
  const commit = (number: number, ...parts: CommitPart[]) => [
    { partition, writer: WRITER, commitNumber: number, parts },
  ]

  await defineMetrics(access, [{ ...definition, name: 'other' }])
  expect(await append(access, commit(1, part('a')), context)).toEqual([{ status: 'applied', skipped: [] }])
  expect(await append(access, commit(2, part('b')), context)).toEqual([{ status: 'applied', skipped: [] }])
  expect(await readMetric(access, 'shop', 'users')).toMatchObject({ points: 2, seriesCount: 2 })
  expect(await readSeries(access, partition, metricId, 0, 10)).toHaveLength(2)
  await hasSeries(access, partition, metricId, [seriesId])
  const key = { metricId, seriesId, resolutionMs: MINUTE, bucketMs: Math.floor(NOW / MINUTE) * MINUTE }
  expect(await countDistinct(access, partition, [[key]])).toEqual([3])
  const inbox = await readInbox(access, partition, 1e6)
  await inboxSize(access, partition)
  await writeBlocks(access, partition, [block('c'), block('d')], NOW)
  const touched = [timeline, finerTimeline].map((each) => ({ ...each, windowMs, expiresMs: NOW }))
  const added = [
    ...['c', 'd'].map((name) => ({ timeline, entry: entry(name) })),
    { timeline: finerTimeline, entry: entry('d') },
  ]
  expect(await commitFold(access, { partition, inbox, removed: [], added, touched, nowMs: NOW })).toBe(true)
  await writeBlocks(access, partition, [block('e')], NOW)
  const merged = { removed: [added[0]!], added: [{ timeline, entry: entry('e') }], touched: [] }
  expect(await commitFold(access, { partition, inbox: [], ...merged, nowMs: NOW })).toBe(true)
  const stretch = { fromMs: windowMs, toMs: windowMs + 1 }
  await readIndex(access, { partition, metricId, withInbox: true, timelines: [{ resolutionMs: MINUTE, stretch }] })
  const window = { ...timeline, windowMs }
  // Stretches that begin within the window or touch it, and a block with two entries.
  for (const hours of [3, 1, 0]) {
    const finer = { ...finerTimeline, windowMs: windowMs + hours * 60 * MINUTE }
    expect(await expireWindow(access, { partition, window: finer, nowMs: NOW })).toBe(true)
  }
  expect(await expireWindow(access, { partition, window, dropExpiredAtResolutions: [10_000], nowMs: NOW })).toBe(true)
  expect(await expireWindow(access, { partition, window, nowMs: NOW })).toBe(true)
  await sweepPartition(access, partition, NOW + 8 * 86_400_000)
  expect(await readEvents(access, { project: 'shop', fromMs: 0, toMs: NOW, limit: 9, bytesMax: 99 })).toHaveLength(2)
  expect(await expireEvents(access, partition, NOW, 10)).toBe(2)
  expect(await deleteMetric(access, { project: 'shop', name: 'users', generation: 1 }, 'me')).toEqual(metricId)
  expect(await clearDeleted(access, partition, [MINUTE], 10, NOW)).toBe(false)
  const receipt = { requestHash: 'ab', status: 200, body: '{}' }
  expect(await writeReceipt(access, 'shop', 'k', receipt, NOW, RECEIPT_BOUNDS)).toEqual(receipt)
  await takePermits(access, { limitKey: 'b', permits: 1, limit: 2, windowWidthMs: MINUTE, nowMs: NOW })

  expect(await takeLease(access, { partition, holder: 'h', leaseMs: 1_000, nowMs: NOW })).toBe(true)

  for (const script of SCRIPTS) {
    const ways = failures.filter((failure) => failure.script === script).map(({ what }) => what)
    expect(ways.filter((what) => what.includes('another type')).length, `${script} meets another type`).toBeGreaterThan(
      0,
    )
    expect(ways, script).toContain('a key too many')
    expect(ways, script).toContain('an argument too many')
    expect(ways, script).toContain('nothing')
  }
})
