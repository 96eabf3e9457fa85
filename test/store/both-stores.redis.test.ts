import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compareIds } from '../../src/model/id.ts'
import { type CanonicalTags, seriesIdOf } from '../../src/model/series.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { openRedisStore } from '../../src/store/redis/redis-store.ts'
import { listAll } from '../support/list-metrics.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import {
  ALWAYS,
  DAY,
  HOUR,
  idOf,
  METRICS,
  NOW,
  openWorld,
  PARTITIONS,
  PROJECTS,
  placeOf,
  SET_STEPS_MS,
  STEPS_MS,
  steps,
  TAGS,
  type World,
  WRITERS,
} from './verb-steps.ts'

/** Any sequence of verbs returns the same from the embedded store and from Redis. */

/** Everything that a store can be asked without changing it. */
async function observe(world: World): Promise<unknown> {
  const { store, nowMs, listed } = world
  const metrics = METRICS.map(async (model, i) => {
    const [at, metricId] = [placeOf(model), idOf(world, i)]
    const stepsMs = model.type === 'set' ? SET_STEPS_MS : STEPS_MS
    const names = listed.filter((entry) => compareIds(entry.metricId, metricId) === 0).map(({ entry }) => entry.block)
    const sets = stepsMs.flatMap((resolutionMs) =>
      [-HOUR, 0, HOUR].map((ms) => ({
        resolutionMs,
        bucketMs: Math.floor((nowMs + ms) / resolutionMs) * resolutionMs,
      })),
    )
    const keysOf = (tags: CanonicalTags) =>
      sets.map((set) => ({ metricId, seriesId: seriesIdOf(metricId, tags), ...set }))
    return {
      row: await store.readMetric(model.project, model.name),
      series: await store.readSeries(at, metricId, 0, 100),
      later: await store.readSeries(at, metricId, 2, 1),
      known: await store.hasSeries(
        at,
        metricId,
        TAGS.map((tags) => seriesIdOf(metricId, tags)),
      ),
      index: await store.readIndex({
        partition: at,
        metricId,
        timelines: stepsMs.map((resolutionMs) => ({ resolutionMs, stretch: ALWAYS })),
        withInbox: true,
      }),
      blocks: [await store.readBlocks(at, names, 'scalars'), await store.readBlocks(at, names, 'sketches')],
      distinct: await store.countDistinct(at, [TAGS.flatMap(keysOf), ...TAGS.flatMap(keysOf).map((key) => [key])]),
    }
  })
  const projects = PROJECTS.map(async (project) => ({
    metrics: await listAll(store, project),
    after: await listAll(store, project, { after: 'hits' }),
    events: await store.readEvents({ project, fromMs: NOW, toMs: NOW + 1, limit: 100, bytesMax: 1e6 }),
    page: await store.readEvents({
      ...{ project, fromMs: NOW, toMs: NOW + 1, limit: 1, bytesMax: 1e6 },
      after: { timeMs: NOW + 1, id: 'event-2' },
    }),
    receipts: await Promise.all([0, 1, 2, 3, 4].map((key) => store.readReceipt(project, `key ${key}`, nowMs))),
  }))
  const partitions = Array.from({ length: PARTITIONS }, async (_, at) => {
    const inbox = await store.readInbox(at, 1e9)
    const names = inbox.map(({ block }) => block)
    return {
      inbox,
      size: await store.inboxSize(at),
      some: await store.readInbox(at, 15),
      blocks: [await store.readBlocks(at, names, 'scalars'), await store.readBlocks(at, names, 'sketches')],
      due: await store.dueWindows(at, nowMs + DAY, 100),
      first: await store.dueWindows(at, nowMs + DAY, 2),
    }
  })
  return {
    metrics: await Promise.all(metrics),
    projects: await Promise.all(projects),
    partitions: await Promise.all(partitions),
    watermarks: await Promise.all(WRITERS.map((writer) => store.readWatermarks(writer, [0, 1]))),
    keys: [...(await store.listKeys())].sort((a, b) => (a.hash < b.hash ? -1 : 1)),
    key: await store.readKey('1'.repeat(64)),
  }
}

const RECEIPTS_MAX = 3
const RECEIPTS_BYTES_MAX = 600
const RUNS = 40

let server: RedisServer
let folder: string

beforeAll(async () => {
  server = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-same-'))
})
afterAll(async () => {
  await server?.stop()
  await rm(folder, { recursive: true, force: true })
})

let runs = 0

async function openBoth(): Promise<readonly [World, World]> {
  const shape = {
    partitions: PARTITIONS,
    resolutions: STEPS_MS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: DAY })),
    setResolutions: SET_STEPS_MS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: DAY })),
    receiptBounds: { receiptsMax: RECEIPTS_MAX, receiptsBytesMax: RECEIPTS_BYTES_MAX },
  }
  const run = `run-${runs++}`
  const worlds: World[] = []
  const now = () => worlds[0]!.nowMs
  const embedded = await openEmbeddedStore({ folder: join(folder, run), ...shape, now })
  const redis = await openRedisStore({ url: server.url, prefix: run, ...shape, now })
  worlds.push(openWorld(embedded), openWorld(redis))
  return [worlds[0]!, worlds[1]!]
}

/** The result, or the error as text. */
const resultOrError = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => String(error))

test('both stores return the same for any sequence of verbs', async () => {
  const asked = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const worlds = await openBoth()
      try {
        for (const [i, { name, drawn, take }] of sequence.entries()) {
          for (const world of worlds) world.nowMs += 1_000
          const [embedded, redis] = await Promise.all(worlds.map((world) => resultOrError(take(world))))
          expect(redis, `${name} ${JSON.stringify(drawn)}`).toEqual(embedded)
          asked.set(name, (asked.get(name) ?? 0) + 1)
          if (i % 4 !== 3 && i !== sequence.length - 1) continue
          const [before, after] = await Promise.all(worlds.map(observe))
          expect(after, `after ${name}`).toEqual(before)
        }
      } finally {
        for (const { store } of worlds) await store.close()
      }
    }),
    // Shrinking takes minutes; a failure prints its path, with which it can be shrunk.
    { numRuns: RUNS, seed: 20_260_505, endOnFailure: true },
  )
  expect(asked.size).toBe(13)
}, 60_000)
