import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Id64 } from '../../../src/model/id.ts'
import { metricIdOf, partitionOf } from '../../../src/model/metric.ts'
import { seriesIdOf } from '../../../src/model/series.ts'
import { partitionKeys } from '../../../src/store/redis/keys.ts'
import { openRedisStore, type RedisStoreOptions } from '../../../src/store/redis/redis-store.ts'
import type { Commit, SetKey, Store } from '../../../src/store/store.ts'
import { ask, decoderOf, FOLD_SETTINGS, openWriter, PROJECT, T0_MS, totalOf } from '../../support/engine.ts'
import { type RedisCluster, type RedisServer, startCluster, startRedis, until } from '../../support/redis-server.ts'

const PARTITIONS = 4
const { resolutions, setResolutions } = FOLD_SETTINGS
const unavailable = { name: 'GatewayError', code: 'store_unavailable' }

let server: RedisServer
let cluster: RedisCluster

beforeAll(async () => {
  ;[server, cluster] = await Promise.all([startRedis({ appendonly: true }), startCluster({ appendonly: true })])
})

afterAll(async () => {
  await Promise.all([server?.stop(), cluster?.stop()])
})

let prefixes = 0

function optionsOf(options: Partial<RedisStoreOptions> = {}): RedisStoreOptions {
  const address = options.clusterNodes === undefined ? { url: server.url } : {}
  return { ...address, prefix: `s${++prefixes}`, partitions: PARTITIONS, resolutions, setResolutions, ...options }
}

async function openStore(options: RedisStoreOptions): Promise<Store> {
  const store = await openRedisStore(options)
  onTestFinished(() => store.close())
  return store
}

async function ownServer(...args: readonly string[]): Promise<RedisServer> {
  const own = await startRedis({ appendonly: true, args })
  onTestFinished(() => own.stop())
  return own
}

function clientOf(own: RedisServer): Redis {
  const client = new Redis(own.url)
  client.on('error', () => undefined)
  onTestFinished(() => client.disconnect())
  return client
}

const NOW = 1_700_006_400_000
const WRITER = 'ab'.repeat(16)

function commitOf(number: number, partition = 0): Commit {
  const block = { name: `b${partition}.${number}`, scalars: new Uint8Array(100), sketches: undefined }
  const part = { block, metrics: [], series: [], members: [], events: [], nowMs: NOW }
  return { partition, writer: WRITER, commitNumber: number, parts: [part] }
}

describe('opening', () => {
  test('a store with another number of partitions or other steps is refused, and the error names both', async () => {
    const options = optionsOf()
    await openStore(options)
    await expect(openRedisStore({ ...options, partitions: 5 })).rejects.toThrow(/made with partitions 4, not 5/)
    await expect(openRedisStore({ ...options, resolutions: resolutions.slice(1) })).rejects.toThrow(
      'made with resolutions 10s,60s,3600s,86400s, not 60s,3600s,86400s',
    )
    await expect(openRedisStore({ ...options, setResolutions: resolutions })).rejects.toThrow(/set resolutions 60s,/)
  })

  test('a store of a newer format is refused', async () => {
    const options = optionsOf()
    await clientOf(server).set(`${options.prefix}:{p0}:meta`, JSON.stringify({ version: 2, partitions: 4 }))
    await expect(openRedisStore(options)).rejects.toThrow(/has format 2, this version of the gateway reads format 1/)
  })

  test('when two gateways start at once on an empty server, one shape wins', async () => {
    const options = optionsOf()
    const opened = await Promise.allSettled([openStore(options), openStore({ ...options, partitions: 8 })])
    expect(opened.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  test('a server that is not there is named, without its password', async () => {
    const opening = openRedisStore(optionsOf({ url: 'redis://me:secret@127.0.0.1:1/2', startTimeoutMs: 300 }))
    await expect(opening).rejects.toThrow(/cannot use Redis at redis:\/\/127\.0\.0\.1:1\/2: .*ECONNREFUSED/)
    await expect(openRedisStore(optionsOf({ clusterNodes: ['127.0.0.1:1'], startTimeoutMs: 300 }))).rejects.toThrow(
      /cannot use Redis at the cluster of 127\.0\.0\.1:1/,
    )
  })

  test('a server that starts a little later is waited for', async () => {
    const own = await ownServer()
    own.signal('SIGKILL')
    const opening = openStore(optionsOf({ url: own.url }))
    await own.start()
    await (await opening).ping()
  })

  test('a wrong password is refused at once', async () => {
    const own = await ownServer('--requirepass', 'right')
    const startedMs = Date.now()
    const url = `redis://:wrong@127.0.0.1:${own.port}`
    await expect(openRedisStore(optionsOf({ url }))).rejects.toThrow(/WRONGPASS/)
    expect(Date.now() - startedMs).toBeLessThan(3_000)
    await openStore(optionsOf({ url: `redis://:right@127.0.0.1:${own.port}/3` }))
  })

  test('a node of a cluster is refused as a server, and a server as a cluster', async () => {
    await expect(openRedisStore(optionsOf({ url: `redis://${cluster.nodes[0]}` }))).rejects.toThrow(
      /is a node of a cluster; name its nodes in REDIS_CLUSTER_NODES/,
    )
    const opening = openRedisStore(optionsOf({ clusterNodes: [`127.0.0.1:${server.port}`], startTimeoutMs: 1_000 }))
    await expect(opening).rejects.toThrow(/cluster support disabled/)
  })

  test('settings that can cost data are named in warnings', async () => {
    const own = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] })
    onTestFinished(() => own.stop())
    const warnings: string[] = []
    await openStore(optionsOf({ url: own.url, log: { warn: (_, message) => warnings.push(message) } }))
    expect(warnings).toEqual([
      expect.stringMatching(/maxmemory-policy is allkeys-lru/),
      expect.stringMatching(/appendonly is off/),
    ])
    warnings.length = 0
    await openStore(optionsOf({ log: { warn: (_, message) => warnings.push(message) } }))
    expect(warnings).toEqual([])
  })
})

describe('a server that fails', () => {
  test('a killed server is unavailable at once, and used again after a restart', async () => {
    const own = await ownServer('--appendfsync', 'always')
    const store = await openStore(optionsOf({ url: own.url }))
    expect(await store.append([commitOf(1)])).toEqual([{ status: 'applied', skipped: [] }])
    own.signal('SIGKILL')
    await expect(store.append([commitOf(2)])).rejects.toMatchObject(unavailable)
    await expect(store.append([commitOf(2)])).rejects.toMatchObject(unavailable)
    await expect(store.readInbox(0, 1e9)).rejects.toMatchObject(unavailable)
    await own.start()
    await until('the store did not recover', () =>
      store.append([commitOf(2)]).then(
        () => true,
        () => false,
      ),
    )
    expect(await store.readWatermarks(WRITER, [0])).toEqual([2])
    expect(await store.readInbox(0, 1e9)).toHaveLength(2)
  })

  test('a commit that a paused server did not finish in time is unavailable, runs later, and is then known', async () => {
    const own = await ownServer()
    const store = await openStore(optionsOf({ url: own.url }))
    await store.append([commitOf(1)])
    own.signal('SIGSTOP')
    const startedMs = Date.now()
    await expect(store.append([commitOf(2)])).rejects.toMatchObject(unavailable)
    expect(Date.now() - startedMs).toBeLessThan(6_000)
    own.signal('SIGCONT')
    expect(await store.append([commitOf(2)])).toEqual([{ status: 'known' }])
    expect(await store.readInbox(0, 1e9)).toHaveLength(2)
  })

  test('a read from a paused server is unavailable after its timeout', async () => {
    const own = await ownServer()
    const store = await openStore(optionsOf({ url: own.url, commandTimeoutMs: 200 }))
    own.signal('SIGSTOP')
    onTestFinished(() => own.signal('SIGCONT'))
    await expect(store.listMetrics('p', { namesMax: 1 })).rejects.toMatchObject(unavailable)
  }, 8_000)

  test('a cut connection is unavailable, and nothing is sent twice', async () => {
    const own = await ownServer()
    const store = await openStore(optionsOf({ url: own.url }))
    const client = clientOf(own)
    await store.append([commitOf(1)])
    // The server takes the commit and cuts the line before it answers.
    await client.call('CLIENT', 'PAUSE', '300', 'WRITE')
    const lost = store.append([commitOf(2)])
    lost.catch(() => undefined)
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await expect(lost).rejects.toMatchObject(unavailable)
    await until('the store did not recover', () =>
      store.ping().then(
        () => true,
        () => false,
      ),
    )
    const [outcome] = await untilResponds(() => store.append([commitOf(2)]))
    expect(['applied', 'known']).toContain(outcome!.status)
    expect(await store.readInbox(0, 1e9)).toHaveLength(2)
  })

  test('without memory, or as a replica, it is unavailable and nothing is written', async () => {
    const own = await ownServer()
    const store = await openStore(optionsOf({ url: own.url }))
    const client = clientOf(own)
    await store.append([commitOf(1)])
    await client.config('SET', 'maxmemory', '1')
    await expect(store.append([commitOf(2)])).rejects.toMatchObject(unavailable)
    expect(await store.readWatermarks(WRITER, [0])).toEqual([1])
    // Commands that free memory are still allowed.
    const inbox = await store.readInbox(0, 1e9)
    const fold = { partition: 0, inbox, removed: [], added: [], touched: [], nowMs: NOW }
    expect(await store.commitFold(fold)).toBe(true)
    await store.sweep(NOW + 3_600_000)
    await client.config('SET', 'maxmemory', '0')
    await client.replicaof('127.0.0.1', '1')
    await expect(store.append([commitOf(2)])).rejects.toMatchObject(unavailable)
    await client.replicaof('NO', 'ONE')
    expect(await untilResponds(() => store.append([commitOf(2)]))).toEqual([{ status: 'applied', skipped: [] }])
  })

  test('without a node of a cluster only its partitions are unavailable, until it is back', {
    timeout: 60_000,
  }, async () => {
    const store = await openStore(optionsOf({ clusterNodes: cluster.nodes }))
    const partitions = [0, 1, 2, 3]
    await store.append(partitions.map((partition) => commitOf(1, partition)))
    const [node] = cluster.servers
    node!.signal('SIGKILL')
    await expect(store.append(partitions.map((partition) => commitOf(2, partition)))).rejects.toMatchObject(unavailable)
    await node!.start()
    await untilResponds(() => store.append(partitions.map((partition) => commitOf(2, partition))))
    await untilResponds(() => store.readWatermarks(WRITER, partitions))
    expect(await store.readWatermarks(WRITER, partitions)).toEqual([2, 2, 2, 2])
    for (const partition of partitions) expect(await store.readInbox(partition, 1e9)).toHaveLength(2)
  })

  test('a key of an unexpected type is a defect, not an outage', async () => {
    const options = optionsOf()
    const store = await openStore(options)
    await clientOf(server).set(partitionKeys(options.prefix, 0).watermarks, 'text')
    const failure = await store.append([commitOf(1)]).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(Error)
    expect(failure).not.toMatchObject(unavailable)
  })
})

/** The result of the first call that does not fail because the server is away. */
async function untilResponds<T>(verb: () => Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined
  await until('the store did not recover', () =>
    verb().then(
      (value) => {
        result = { value }
        return true
      },
      (error: unknown) => {
        expect(error).toMatchObject(unavailable)
        return false
      },
    ),
  )
  return result!.value
}

describe.each(['one Redis', 'Redis Cluster'])('several gateways on %s', (kind) => {
  const optionsHere = () => (kind === 'one Redis' ? optionsOf() : optionsOf({ clusterNodes: cluster.nodes }))

  test('points of one are in the next result of the other', async () => {
    const options = optionsHere()
    const stores = [await openStore(options), await openStore(options)]
    const writers = stores.map((store) => openWriter(store))
    for (let round = 0; round < 5; round++) {
      for (const [i, writer] of writers.entries()) {
        const tags = { gateway: `${i}`, round: `${round}` }
        await writer.track(PROJECT, decoderOf([{ name: 'hits', type: 'counter', value: 1, tags }]))
        expect(await totalOf(stores[1 - i]!, 'hits', 'sum')).toBe(2 * round + i + 1)
      }
    }
    for (const writer of writers) await writer.close()
  })

  test('a listener is notified of the commits of another gateway', async () => {
    const options = optionsHere()
    const [storeA, storeB] = [await openStore(options), await openStore(options)]
    const name = 'hits'
    const partition = partitionOf(PROJECT, name, PARTITIONS)
    const metricId = metricIdOf(PROJECT, name, 1)
    const received: (readonly Id64[])[] = []
    storeA.onCommit((metricIds) => received.push(metricIds))
    const definition = { project: PROJECT, name, type: 'counter' } as const
    const touch = { metricId, generation: 1, definition, points: 1, firstMs: NOW, lastMs: NOW, cumulative: false }
    let number = 0
    await until('no notification came', async () => {
      const [part] = commitOf(++number).parts
      await storeB.append([
        { partition, writer: WRITER, commitNumber: number, parts: [{ ...part!, metrics: [touch] }] },
      ])
      return received.length > 0
    })
    expect(received[0]).toEqual([metricId])
  })
})

describe('commands', () => {
  test('a batch is one call of the server, whose number of commands does not grow with the points', async () => {
    const options = optionsOf()
    const store = await openStore(options)
    const writer = openWriter(store)
    onTestFinished(() => writer.close())
    const batch = (points: number) =>
      writer.track(
        PROJECT,
        decoderOf(
          Array.from({ length: points }, (_, i) => ({
            name: `metric-${i % 10}`,
            type: 'distribution' as const,
            value: i,
            timeMs: T0_MS + (i % 7) * 1_000,
            tags: { host: `h${i % 50}` },
          })),
        ),
      )
    // Metrics and series are known from here on.
    await batch(500)
    const monitor = await new Redis(server.url).monitor()
    onTestFinished(() => monitor.disconnect())
    const seen: { readonly command: string; readonly source: string }[] = []
    monitor.on('monitor', (_, args: string[], source: string) => {
      if (args.some((arg) => arg.startsWith(`${options.prefix}:`))) seen.push({ command: args[0]!, source })
    })
    const commandsOf = async (points: number) => {
      seen.length = 0
      await batch(points)
      const client = clientOf(server)
      await client.echo(`${options.prefix}:end`)
      await until('nothing was monitored', () => seen.at(-1)?.command.toLowerCase() === 'echo')
      return seen.slice(0, -1)
    }
    const few = await commandsOf(200)
    const many = await commandsOf(500)
    for (const commands of [few, many]) {
      const fromClients = commands.filter(({ source }) => source !== 'lua').map(({ command }) => command.toLowerCase())
      expect(fromClients).toEqual(['evalsha'])
    }
    expect(many.length).toBe(few.length)
    expect(many.length).toBeLessThan(100)
    expect((await ask(store, 'metric-3', { aggregations: ['count'] })).groups[0]!.totals.get('count')).toBe(120)
  })
})

test('a fold of thousands of small inbox entries takes some commands for each thousand', async () => {
  const own = await ownServer()
  const store = await openStore(optionsOf({ url: own.url }))
  const [part] = commitOf(1).parts
  const parts = Array.from({ length: 3_000 }, (_, i) => ({ ...part!, block: { ...part!.block!, name: `small-${i}` } }))
  await store.append([{ ...commitOf(1), parts }])
  const inbox = await store.readInbox(0, 1e9)
  expect(inbox).toHaveLength(3_000)
  const client = clientOf(own)
  await client.config('RESETSTAT')
  expect(await store.commitFold({ partition: 0, inbox, removed: [], added: [], touched: [], nowMs: NOW })).toBe(true)
  const stats = String(await client.info('commandstats'))
  const calls = [...stats.matchAll(/:calls=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)
  expect(calls).toBeLessThan(50)
  expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
  const names = inbox.map(({ block }) => block)
  expect(await store.readBlocks(0, names, 'scalars')).not.toContain(undefined)
  await store.sweep(NOW + 61_000)
  expect(new Set(await store.readBlocks(0, names, 'scalars'))).toEqual(new Set([undefined]))
})

describe('sets', () => {
  const name = 'users'
  const partition = partitionOf(PROJECT, name, PARTITIONS)
  const metricId = metricIdOf(PROJECT, name, 1)
  const definition = { project: PROJECT, name, type: 'set' } as const
  const MINUTE = 60_000
  const windowMs = Math.floor(NOW / (360 * MINUTE)) * 360 * MINUTE

  function members(number: number, series: number, membersOf: (i: number) => readonly string[]): Commit {
    const sets = Array.from({ length: series }, (_, i) => ({
      metricId,
      seriesId: seriesIdOf(metricId, [['host', `${i}`]]),
      bucketMs: NOW,
      members: membersOf(i),
    }))
    const touch = { metricId, generation: 1, definition, points: 1, firstMs: NOW, lastMs: NOW, cumulative: false }
    const part = { metrics: [touch], series: [], members: sets, events: [], nowMs: NOW }
    return { partition, writer: WRITER, commitNumber: number, parts: [part] }
  }

  const keyOf = (i: number): SetKey => ({
    metricId,
    seriesId: seriesIdOf(metricId, [['host', `${i}`]]),
    resolutionMs: MINUTE,
    bucketMs: NOW,
  })

  test('unions of any size count as Redis counts their members', async () => {
    const options = optionsOf()
    const store = await openStore(options)
    const ofSeries = (i: number) => Array.from({ length: 30 + i }, (_, m) => `user-${i * 20 + m}`)
    await store.append([members(1, 60, ofSeries)])
    const sizes = [1, 15, 16, 17, 60]
    const unions = sizes.map((size) => Array.from({ length: size }, (_, i) => keyOf(i)))
    const client = clientOf(server)
    const expected: number[] = []
    for (const size of sizes) {
      const key = `${options.prefix}:expected-${size}`
      for (let i = 0; i < size; i++) await client.pfadd(key, ...ofSeries(i))
      expected.push(await client.pfcount(key))
    }
    expect(await store.countDistinct(partition, [...unions, unions.flat()])).toEqual([...expected, expected[4]])
  })

  test('sketches of an expired window are deleted in steps, and members added meanwhile start new sketches', async () => {
    const options = optionsOf()
    const store = await openStore(options)
    await store.append([members(1, 1_200, (i) => [`user-${i}`])])
    const window = { metricId, resolutionMs: MINUTE, windowMs }
    const keys = partitionKeys(options.prefix, partition)
    const client = clientOf(server)
    // As a gateway leaves it that stopped between condemning and deleting.
    await client.rename(keys.sketchNamesOf(window), keys.setsToDeleteOf(window))
    await client.sadd(keys.windowsWithSetsToDelete, `${keys.sketchNamesOf(window).split(':').at(-1)}`)
    await store.append([members(2, 1, () => ['somebody else'])])
    expect(await store.countDistinct(partition, [[keyOf(0)], [keyOf(1)]])).toEqual([1, 1])
    await store.sweep(NOW)
    expect(await store.countDistinct(partition, [[keyOf(0)], [keyOf(1)]])).toEqual([1, 0])
    expect(await store.expireWindow({ partition, window, nowMs: NOW })).toBe(true)
    const left = await client.keys(`${options.prefix}:*set*${MINUTE}.${NOW}.*`)
    expect(left).toEqual([])
    expect(
      await client.exists(keys.sketchNamesOf(window), keys.setsToDeleteOf(window), keys.windowsWithSetsToDelete),
    ).toBe(0)
  })
})
