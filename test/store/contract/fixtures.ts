import { expect, onTestFinished } from 'vitest'
import type { Id64 } from '../../../src/model/id.ts'
import { metricIdOf, partitionOf } from '../../../src/model/metric.ts'
import { type CanonicalTags, seriesIdOf } from '../../../src/model/series.ts'
import type { MetricDefinition } from '../../../src/store/catalog.ts'
import type {
  AppendOutcome,
  Commit,
  CommitPart,
  IndexEntry,
  MetricUpdate,
  NamedBlock,
  Store,
  TimelineIndex,
} from '../../../src/store/store.ts'

/**
 * What the files of the contract share. A store is opened empty with the shape below; `reopen`
 * closes it and opens it again with what it kept.
 */
export interface OpenedStore {
  readonly store: Store
  reopen(): Promise<Store>
  /** Everything it holds, a line each without values; closes it. */
  contents(): Promise<readonly string[]>
  /** Closes the store that is open now and removes what it kept. */
  dispose(): Promise<void>
}

export const PARTITIONS = 4
export const SECONDS_10 = 10_000
export const MINUTE = 60_000
export const HOUR = 3_600_000
export const DAY = 86_400_000
export const RESOLUTION_STEPS = [SECONDS_10, MINUTE, HOUR] as const
export const SET_RESOLUTION_STEPS = [MINUTE, HOUR] as const
export const RECEIPTS_MAX = 3
/** Room for three of the smallest and, alone, for any. */
export const RECEIPTS_BYTES_MAX = 1_000

export const WRITER = '0123456789abcdef0123456789abcdef'
export const OTHER_WRITER = 'fedcba9876543210fedcba9876543210'
/** An ordinary time, on the edge of a window of each resolution. */
export const NOW = Math.ceil(1_700_000_000_000 / (360 * HOUR)) * 360 * HOUR

export interface Metric {
  readonly definition: MetricDefinition
  readonly metricId: Id64
  readonly partition: number
}

export function metricOf(name: string, options: Partial<MetricDefinition> = {}, generation = 1): Metric {
  const definition: MetricDefinition = { project: 'shop', name, type: 'gauge', ...options }
  const { project } = definition
  return {
    definition,
    metricId: metricIdOf(project, name, generation),
    partition: partitionOf(project, name, PARTITIONS),
  }
}

export function touch(metric: Metric, options: Partial<MetricUpdate> = {}): MetricUpdate {
  const { metricId, definition } = metric
  return { metricId, generation: 1, definition, points: 1, firstMs: NOW, lastMs: NOW, cumulative: false, ...options }
}

export function seriesTouch(metric: Metric, tags: CanonicalTags) {
  return { metricId: metric.metricId, seriesId: seriesIdOf(metric.metricId, tags), tags }
}

export function part(options: Partial<CommitPart> = {}): CommitPart {
  return { metrics: [], series: [], members: [], events: [], nowMs: NOW, ...options }
}

let blocksNamed = 0

export function block(bytes = 10, sketchBytes?: number): NamedBlock {
  const name = `block-${++blocksNamed}`
  return {
    name,
    scalars: new Uint8Array(bytes).fill(blocksNamed),
    sketches: sketchBytes === undefined ? undefined : new Uint8Array(sketchBytes).fill(blocksNamed + 1),
  }
}

export function commit(partition: number, number: number, ...parts: readonly CommitPart[]): Commit {
  return { partition, writer: WRITER, commitNumber: number, parts }
}

export function entryOf(name: string, windowMs: number, options: Partial<IndexEntry> = {}): IndexEntry {
  return {
    block: name,
    windowMs,
    tier: 0,
    order: 1,
    seriesFrom: { hi: 1, lo: 2 },
    seriesTo: { hi: 0xffffffff, lo: 0xfffffffe },
    rollupCount: 7,
    scalarBytes: 10,
    sketchBytes: 0,
    ...options,
  }
}

/** A metric of this partition whose name begins so. */
export function namesOf(partition: number, beginning: string): Metric {
  for (let i = 0; ; i++) {
    const metric = metricOf(`${beginning}${i}`)
    if (metric.partition === partition) return metric
  }
}

export const ALWAYS = { fromMs: NOW - 1_000 * DAY, toMs: NOW + 1_000 * DAY }

export async function only(outcomes: Promise<readonly AppendOutcome[]>): Promise<AppendOutcome> {
  const results = await outcomes
  expect(results).toHaveLength(1)
  return results[0]!
}

export async function timeline(
  store: Store,
  metric: Metric,
  resolutionMs: number,
  stretch = ALWAYS,
): Promise<TimelineIndex> {
  const { partition, metricId } = metric
  const index = await store.readIndex({ partition, metricId, timelines: [{ resolutionMs, stretch }], withInbox: false })
  return index.timelines[0]!
}

export async function blocksOf(store: Store, metric: Metric, resolutionMs: number): Promise<string[]> {
  return (await timeline(store, metric, resolutionMs)).entries.map((entry) => entry.block)
}

export async function exists(store: Store, partition: number, name: string): Promise<boolean> {
  const [bytes] = await store.readBlocks(partition, [name], 'scalars')
  return bytes !== undefined
}

/** A block in one window of a timeline, by way of a fold. */
export async function list(
  store: Store,
  metric: Metric,
  resolutionMs: number,
  windowMs: number,
  options: { readonly expiresMs?: number; readonly nowMs?: number; readonly entry?: Partial<IndexEntry> } = {},
): Promise<IndexEntry> {
  const { partition, metricId } = metric
  const nowMs = options.nowMs ?? NOW
  const written = block()
  const entry = entryOf(written.name, windowMs, options.entry)
  await store.writeBlocks(partition, [written], nowMs)
  const listed = await store.commitFold({
    partition,
    inbox: [],
    removed: [],
    added: [{ timeline: { metricId, resolutionMs }, entry }],
    touched: [{ metricId, resolutionMs, windowMs, expiresMs: options.expiresMs ?? nowMs + DAY }],
    nowMs,
  })
  expect(listed).toBe(true)
  return entry
}

/** How the tests open an empty store. What the other two open is disposed of when the test ends. */
export interface Openers {
  /** The caller disposes of it. */
  openEmpty(): Promise<OpenedStore>
  openStore(): Promise<Store>
  openedStore(): Promise<OpenedStore>
}

export function openersOf(openEmpty: () => Promise<OpenedStore>): Openers {
  async function openedStore(): Promise<OpenedStore> {
    const opened = await openEmpty()
    onTestFinished(() => opened.dispose())
    return opened
  }
  return { openEmpty, openedStore, openStore: async () => (await openedStore()).store }
}
