import fc from 'fast-check'
import { expect } from 'vitest'
import { compareIds, formatId, type Id64 } from '../../../src/model/id.ts'
import type { IndexEntry, Store } from '../../../src/store/store.ts'
import { windowWidthMs } from '../../../src/store/windows.ts'
import {
  block,
  entryOf,
  metricOf,
  NOW,
  OTHER_WRITER,
  only,
  part,
  SECONDS_10,
  seriesTouch,
  timeline,
  touch,
  WRITER,
} from './fixtures.ts'

/**
 * A model of one partition: appends of two metrics by two writers, folds of all or part of the inbox, expiry,
 * reopening.
 */

const MODEL_METRICS = ['m0', 'm1'].map((base) => {
  for (let i = 0; ; i++) {
    const metric = metricOf(`${base}-${i}`)
    if (metric.partition === 2) return metric
  }
})
const MODEL_WIDTH = windowWidthMs(SECONDS_10)

export const stepArbitrary = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      writer: fc.constantFrom(WRITER, OTHER_WRITER),
      /** Difference to the number that is due. */
      ahead: fc.constantFrom(0, 0, 0, 0, -1, 1),
      metric: fc.nat({ max: 1 }),
      tag: fc.nat({ max: 3 }),
      key: fc.option(fc.nat({ max: 2 }), { nil: undefined }),
      clash: fc.constantFrom(false, false, false, false, true),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fold' as const),
      entries: fc.nat({ max: 3 }),
      metric: fc.nat({ max: 1 }),
      window: fc.nat({ max: 2 }),
      replaces: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('expire' as const),
      metric: fc.nat({ max: 1 }),
      window: fc.nat({ max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sweep' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
)
type Step = typeof stepArbitrary extends fc.Arbitrary<infer T> ? Exclude<T, { readonly kind: 'reopen' }> : never

export class Model {
  readonly #partition = 2
  #nowMs = NOW
  readonly #numbers = new Map<string, number>()
  readonly #markers = new Set<string>()
  readonly #points = [0, 0]
  readonly #tags: string[][] = [[], []]
  #inbox: { readonly block: string; readonly bytes: Uint8Array }[] = []
  #listed: { readonly metric: number; readonly window: number; readonly entry: IndexEntry }[] = []
  readonly #expired = [new Set<number>(), new Set<number>()]
  #order = 0

  async take(store: Store, step: Step): Promise<void> {
    this.#nowMs += 1_000
    if (step.kind === 'append') await this.#append(store, step)
    else if (step.kind === 'fold') await this.#fold(store, step)
    else if (step.kind === 'expire') await this.#expire(store, step)
    else await store.sweep(this.#nowMs)
  }

  async #append(store: Store, step: Extract<Step, { kind: 'append' }>): Promise<void> {
    const last = this.#numbers.get(step.writer) ?? 0
    const number = Math.max(1, last + 1 + step.ahead)
    const base = MODEL_METRICS[step.metric]!
    const type = step.clash ? ('counter' as const) : ('gauge' as const)
    const metric = { ...base, definition: { ...base.definition, type } }
    const appended = block(5 + step.tag)
    const only1 = part({
      ...(step.key === undefined ? {} : { marker: { project: 'shop', key: `key-${step.key}` } }),
      block: appended,
      metrics: [touch(metric)],
      series: [seriesTouch(metric, [['tag', `${step.tag}`]])],
      nowMs: this.#nowMs,
    })
    const outcome = await only(
      store.append([{ partition: this.#partition, writer: step.writer, commitNumber: number, parts: [only1] }]),
    )
    if (number <= last) return expect(outcome).toEqual({ status: 'known' })
    if (number > last + 1) return expect(outcome).toEqual({ status: 'gap', watermark: last })
    const skipped = step.key !== undefined && this.#markers.has(`key-${step.key}`)
    // The first definition is a gauge, unless a clash came first and made the metric a counter.
    if (!skipped && this.#types[step.metric] !== undefined && this.#types[step.metric] !== type) {
      return expect(outcome).toEqual({ status: 'conflict', metricIds: [base.metricId], deleted: [] })
    }
    expect(outcome).toEqual({ status: 'applied', skipped: skipped ? [0] : [] })
    this.#numbers.set(step.writer, number)
    if (skipped) return undefined
    if (step.key !== undefined) this.#markers.add(`key-${step.key}`)
    this.#types[step.metric] = type
    this.#points[step.metric]!++
    const tags = this.#tags[step.metric]!
    if (!tags.includes(`${step.tag}`)) tags.push(`${step.tag}`)
    this.#inbox.push({ block: appended.name, bytes: appended.scalars })
    return undefined
  }

  readonly #types: (string | undefined)[] = [undefined, undefined]

  async #fold(store: Store, step: Extract<Step, { kind: 'fold' }>): Promise<void> {
    const partition = this.#partition
    const { metricId } = MODEL_METRICS[step.metric]!
    const inbox = (await store.readInbox(partition, 1e9)).slice(0, step.entries)
    const windowMs = NOW + step.window * MODEL_WIDTH
    const merged = block()
    await store.writeBlocks(partition, [merged], this.#nowMs)
    const entry = entryOf(merged.name, windowMs, { order: ++this.#order })
    const timelineKey = { metricId, resolutionMs: SECONDS_10 }
    const replaced = step.replaces
      ? this.#listed.filter((listing) => listing.metric === step.metric && listing.window === step.window)
      : []
    const folded = await store.commitFold({
      partition,
      inbox,
      removed: replaced.map((listing) => ({ timeline: timelineKey, entry: listing.entry })),
      added: [{ timeline: timelineKey, entry }],
      touched: [{ ...timelineKey, windowMs, expiresMs: this.#nowMs }],
      nowMs: this.#nowMs,
    })
    const possible = !this.#expired[step.metric]!.has(step.window)
    expect(folded).toBe(possible)
    if (!possible) return
    this.#inbox = this.#inbox.slice(inbox.length)
    this.#listed = this.#listed.filter((listing) => !replaced.includes(listing))
    this.#listed.push({ metric: step.metric, window: step.window, entry })
  }

  async #expire(store: Store, step: Extract<Step, { kind: 'expire' }>): Promise<void> {
    const { metricId } = MODEL_METRICS[step.metric]!
    const window = { metricId, resolutionMs: SECONDS_10, windowMs: NOW + step.window * MODEL_WIDTH }
    expect(await store.expireWindow({ partition: this.#partition, window, nowMs: this.#nowMs })).toBe(true)
    this.#listed = this.#listed.filter((listing) => listing.metric !== step.metric || listing.window !== step.window)
    this.#expired[step.metric]!.add(step.window)
  }

  async check(store: Store): Promise<void> {
    const partition = this.#partition
    const inbox = await store.readInbox(partition, 1e9)
    expect(inbox.map((entry) => entry.block)).toEqual(this.#inbox.map((entry) => entry.block))
    const bytes = await store.readBlocks(
      partition,
      this.#inbox.map((entry) => entry.block),
      'scalars',
    )
    expect(bytes).toEqual(this.#inbox.map((entry) => entry.bytes))
    const total = this.#inbox.reduce((sum, entry) => sum + entry.bytes.length, 0)
    expect(await store.inboxSize(partition)).toEqual({ entries: inbox.length, bytes: total })
    for (const writer of [WRITER, OTHER_WRITER]) {
      expect(await store.readWatermarks(writer, [partition])).toEqual([this.#numbers.get(writer) ?? 0])
    }
    for (const [i, metric] of MODEL_METRICS.entries()) {
      const row = await store.readMetric('shop', metric.definition.name)
      expect(row?.points ?? 0).toBe(this.#points[i])
      const series = await store.readSeries(partition, metric.metricId, 0, 100)
      expect(series!.map((row) => row.tags[0]![1])).toEqual(this.#tags[i])
      const index = await timeline(store, metric, SECONDS_10)
      const listed = this.#listed.filter((listing) => listing.metric === i).map((listing) => listing.entry)
      expect(index.entries).toEqual(listed.sort((x, y) => x.windowMs - y.windowMs || x.order - y.order))
      const present = await store.readBlocks(
        partition,
        listed.map((entry) => entry.block),
        'scalars',
      )
      expect(present.every((bytes) => bytes !== undefined)).toBe(true)
      const covered = index.expired.flatMap(({ fromMs, toMs }) =>
        Array.from({ length: (toMs - fromMs) / MODEL_WIDTH }, (_, n) => (fromMs - NOW) / MODEL_WIDTH + n),
      )
      expect(covered).toEqual([...this.#expired[i]!].sort())
    }
    const due = await store.dueWindows(partition, this.#nowMs, 100)
    const names = (windows: readonly { readonly metricId: Id64; readonly windowMs: number }[]) =>
      windows.map(({ metricId, windowMs }) => `${formatId(metricId)} ${windowMs}`).sort()
    const windows = new Map(
      this.#listed.map((listing) => [
        `${listing.metric} ${listing.window}`,
        { metricId: MODEL_METRICS[listing.metric]!.metricId, windowMs: listing.entry.windowMs },
      ]),
    )
    expect(names(due)).toEqual(names([...windows.values()]))
    expect([...due].sort((x, y) => compareIds(x.metricId, y.metricId))).toHaveLength(windows.size)
  }
}
