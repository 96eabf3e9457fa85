import { beforeEach, expect, test } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { MINUTE_MS } from '../../../src/model/time.ts'
import { TIMELINE_BLOCK_BYTES_MIN } from '../../../src/query/read/block-batches.ts'
import { BlockCache } from '../../../src/query/read/block-cache.ts'
import { BlockReader, type BlockRequest, type ReadSession } from '../../../src/query/read/block-reader.ts'
import type { MetricRow } from '../../../src/store/catalog.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { decoderOf, FOLD_SETTINGS, PROJECT, T0_MS } from '../../support/engine.ts'
import { FaultyStore, gate } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'

/** Blocks are read and opened in batches, between which other requests run. */

const BLOCKS = 40

let faulty: FaultyStore
let metric: MetricRow
let requests: readonly BlockRequest[]

beforeEach(async () => {
  const store = await openTestStore(1)
  faulty = new FaultyStore(store)
  const writer = openTestWriter(new FaultyStore(store))
  for (let i = 0; i < BLOCKS; i++) {
    await writer.track(PROJECT, decoderOf([1, 2].map((value) => ({ name: 'd', type: 'distribution', value }))))
    await foldInbox(store, 0, FOLD_SETTINGS, T0_MS)
  }
  metric = (await store.readMetric(PROJECT, 'd'))!
  const stretch = { fromMs: T0_MS, toMs: T0_MS + MINUTE_MS }
  const index = { partition: 0, metricId: metric.metricId, timelines: [{ resolutionMs: 10_000, stretch }] }
  const { timelines } = await store.readIndex({ ...index, withInbox: false })
  requests = timelines[0]!.entries.map(({ block, scalarBytes, sketchBytes, windowMs }) => ({
    name: block,
    scalarBytes,
    sketchBytes,
    bytesMin: TIMELINE_BLOCK_BYTES_MIN,
    indexPart: 'timeline',
    position: windowMs,
  }))
  expect(requests).toHaveLength(BLOCKS)
})

function openSession(): ReadSession & { pauseCount: number; pause: () => void } {
  const session = {
    blocks: new Map(),
    pauseCount: 0,
    pause: () => {},
    createPace: () => ({
      pause: async () => {
        session.pauseCount++
        session.pause()
      },
    }),
  }
  return session
}

const read = (reader: BlockReader, some: readonly BlockRequest[], session: ReadSession) =>
  reader.read(0, metric.metricId, some, true, session)

const readSizes = () => faulty.calls('readBlocks').map(([, names, part]) => [part, names.length])

test('many blocks are read in batches with a pause between them', async () => {
  const session = openSession()
  const contents = await read(new BlockReader(faulty.store, new BlockCache(1 << 24)), requests, session)
  expect(contents?.sections.map((section) => section?.count[0])).toEqual(requests.map(() => 2))
  expect(contents?.cacheHitCount).toBe(0)
  const sizes = [16, 16, 8]
  expect(readSizes()).toEqual([...sizes.map((size) => ['scalars', size]), ...sizes.map((size) => ['sketches', size])])
  expect(session.pauseCount).toBe(4)
  expect(session.blocks.size).toBe(BLOCKS)
})

test('few blocks are read at once', async () => {
  const session = openSession()
  await read(new BlockReader(faulty.store, new BlockCache(1 << 24)), requests.slice(0, 16), session)
  expect(readSizes()).toEqual([
    ['scalars', 16],
    ['sketches', 16],
  ])
  expect(session.pauseCount).toBe(0)
})

test('a query that is stopped reads no further batch, and another one reads all blocks once', async () => {
  const reader = new BlockReader(faulty.store, new BlockCache(1 << 24))
  const firstRead = gate()
  faulty.next('readBlocks', firstRead.fault)
  const stoppedSession = openSession()
  const gone = new GatewayError('request_timeout', 'the client is gone')
  stoppedSession.pause = () => {
    throw gone
  }
  const stopped = expect(read(reader, requests, stoppedSession)).rejects.toBe(gone)
  const session = openSession()
  const other = read(reader, requests, session)
  await firstRead.reached
  firstRead.open()
  await stopped
  expect((await other)?.sections).not.toContain(undefined)
  expect(session.blocks.size).toBe(BLOCKS)
  expect(readSizes().filter(([part]) => part === 'scalars')).toEqual([16, 16, 8].map((size) => ['scalars', size]))
})
