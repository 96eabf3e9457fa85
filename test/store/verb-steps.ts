import fc from 'fast-check'
import { compareIds, type Id64 } from '../../src/model/id.ts'
import { type MetricType, metricIdOf, partitionOf } from '../../src/model/metric.ts'
import { type CanonicalTags, seriesIdOf } from '../../src/model/series.ts'
import type { Commit, IndexEntry, Store } from '../../src/store/store.ts'
import { windowWidthMs } from '../../src/store/windows.ts'

/**
 * Random sequences of verbs of a store. A world is one store and what its verbs have returned: a step builds on that
 * (the inbox that it folds, the entries that it replaces).
 */

export const PARTITIONS = 2
const MINUTE = 60_000
export const HOUR = 3_600_000
export const DAY = 24 * HOUR
export const STEPS_MS = [10_000, MINUTE, HOUR] as const
export const SET_STEPS_MS = [MINUTE, HOUR] as const
export const NOW = Math.ceil(1_700_000_000_000 / (360 * HOUR)) * 360 * HOUR
export const ALWAYS = { fromMs: NOW - 1_000 * DAY, toMs: NOW + 1_000 * DAY }
export const PROJECTS = ['shop', 'blog'] as const
export const WRITERS = ['a'.repeat(32), 'b'.repeat(32)] as const
const HOLDERS = ['one', 'other'] as const

interface Metric {
  readonly project: string
  readonly name: string
  readonly type: MetricType
}

export const METRICS: readonly Metric[] = [
  { project: 'shop', name: 'load', type: 'gauge' },
  { project: 'shop', name: 'hits', type: 'counter' },
  { project: 'shop', name: 'users', type: 'set' },
  { project: 'blog', name: 'users', type: 'set' },
  { project: 'blog', name: 'load', type: 'distribution' },
]
const OTHER_TYPE: MetricType = 'summary'

export const TAGS: readonly CanonicalTags[] = [
  [],
  [['host', 'a']],
  [
    ['host', 'ä'],
    ['path', '/x y'],
  ],
]

/** An entry of a timeline, which a fold may replace. */
interface Listed {
  readonly metricId: Id64
  readonly stepMs: number
  readonly entry: IndexEntry
}

export interface World {
  readonly store: Store
  nowMs: number
  named: number
  readonly numbers: Map<string, number>
  /** Of each metric the one that lives, or is made next. */
  readonly generations: number[]
  listed: readonly Listed[]
}

export function openWorld(store: Store): World {
  return { store, nowMs: NOW, named: 0, numbers: new Map(), generations: METRICS.map(() => 1), listed: [] }
}

export function idOf(world: World, metric: number, generation = world.generations[metric]!): Id64 {
  const { project, name } = METRICS[metric]!
  return metricIdOf(project, name, generation)
}

export const placeOf = ({ project, name }: Metric) => partitionOf(project, name, PARTITIONS)

function blockOf(world: World, bytes: number, sketchBytes: number) {
  const name = `block-${++world.named}`
  const fill = world.named % 251
  return {
    name,
    scalars: new Uint8Array(bytes).fill(fill),
    sketches: sketchBytes === 0 ? undefined : new Uint8Array(sketchBytes).fill(fill + 1),
  }
}

/** What is drawn, and what it does to a world. The results of both worlds are compared. */
interface Step {
  readonly name: string
  readonly drawn: unknown
  take(world: World): Promise<unknown>
}

function step<T>(
  name: string,
  arbitrary: fc.Arbitrary<T>,
  take: (world: World, drawn: T) => Promise<unknown>,
): fc.Arbitrary<Step> {
  return arbitrary.map((drawn) => ({ name, drawn, take: (world) => take(world, drawn) }))
}

type Drawn<A> = A extends fc.Arbitrary<infer T> ? T : never

const index = (length: number) => fc.nat({ max: length - 1 })
const rarely = fc.constantFrom(true, ...Array<boolean>(9).fill(false))
const metric = index(METRICS.length)
const partition = index(PARTITIONS)
const window = index(3)

const part = fc.record({
  metric,
  tags: fc.uniqueArray(index(TAGS.length), { maxLength: 3 }),
  points: fc.nat({ max: 3 }),
  atMs: fc.integer({ min: -2, max: 2 }).map((n) => n * HOUR),
  cumulative: rarely,
  isOfOtherType: rarely,
  /** Of a gateway that does not know of a deletion. */
  isOutdated: rarely,
  hasOtherTags: rarely,
  key: fc.option(index(3), { nil: undefined, freq: 3 }),
  blockBytes: fc.nat({ max: 20 }),
  sketchBytes: fc.nat({ max: 5 }),
  members: fc.array(index(30), { maxLength: 4 }),
  events: fc.array(index(4), { maxLength: 2 }),
})

const commit = fc.record({
  partition,
  writer: index(WRITERS.length),
  /** Difference to the number that is due. */
  ahead: fc.constantFrom(0, 0, 0, 0, 0, 0, -1, 1),
  parts: fc.array(part, { maxLength: 3 }),
})

function partOf(world: World, at: number, drawn: Drawn<typeof part>): Commit['parts'][number] | undefined {
  // The metric is of another partition: the commit goes without the part.
  const { project, name, type } = METRICS[drawn.metric]!
  if (placeOf(METRICS[drawn.metric]!) !== at) return undefined
  const { nowMs } = world
  const generation = Math.max(1, world.generations[drawn.metric]! - (drawn.isOutdated ? 1 : 0))
  const metricId = idOf(world, drawn.metric, generation)
  const tags = drawn.tags.map((i) => TAGS[i]!)
  const block = drawn.blockBytes === 0 ? undefined : blockOf(world, drawn.blockBytes, drawn.sketchBytes)
  return {
    ...(drawn.key === undefined ? {} : { marker: { project, key: `key-${drawn.key}` } }),
    ...(block === undefined ? {} : { block }),
    metrics: [
      {
        metricId,
        generation,
        definition: { project, name, type: drawn.isOfOtherType ? OTHER_TYPE : type, unit: 'ms' },
        points: drawn.points,
        firstMs: nowMs + drawn.atMs,
        lastMs: nowMs + drawn.atMs + 5,
        cumulative: drawn.cumulative,
      },
    ],
    series: tags.map((canonical) => ({
      metricId,
      seriesId: seriesIdOf(metricId, canonical),
      tags: drawn.hasOtherTags ? [['host', 'another']] : canonical,
    })),
    members:
      type !== 'set' || tags.length === 0
        ? []
        : [
            {
              metricId,
              seriesId: seriesIdOf(metricId, tags[0]!),
              bucketMs: Math.floor((nowMs + drawn.atMs) / MINUTE) * MINUTE,
              members: drawn.members.map((i) => `member ${i}`),
            },
          ],
    events: drawn.events.map((i) => ({
      project,
      // No id is given twice.
      id: `event-${i}-${++world.named}`,
      timeMs: NOW + Math.floor(i / 2),
      json: JSON.stringify({ name: `event ${i}`, text: 'ö' }),
    })),
    nowMs,
  }
}

const append = step('append', commit, async (world, drawn) => {
  const writer = WRITERS[drawn.writer]!
  const numbered = `${writer} ${drawn.partition}`
  const last = world.numbers.get(numbered) ?? 0
  const number = Math.max(1, last + 1 + drawn.ahead)
  const parts = drawn.parts.flatMap((each) => partOf(world, drawn.partition, each) ?? [])
  const [outcome] = await world.store.append([{ partition: drawn.partition, writer, commitNumber: number, parts }])
  if (outcome!.status === 'applied') world.numbers.set(numbered, number)
  if (outcome!.status !== 'conflict') return outcome
  const { metricIds, deleted } = outcome!
  return [metricIds, deleted].map((ids) => [...ids].sort(compareIds))
})

const folding = fc.record({
  metric,
  entries: fc.nat({ max: 4 }),
  steps: fc.uniqueArray(index(STEPS_MS.length), { maxLength: 3 }),
  windows: fc.uniqueArray(window, { maxLength: 2 }),
  tier: fc.nat({ max: 2 }),
  replaces: fc.boolean(),
  /** Something that is not there any more, so that nothing may change. */
  isLate: rarely,
  keptMs: fc.constantFrom(0, MINUTE, HOUR, 10 * DAY),
})

const fold = step('fold', folding, async (world, drawn) => {
  const { store, nowMs } = world
  const drawnMetric = METRICS[drawn.metric]!
  const at = placeOf(drawnMetric)
  const metricId = idOf(world, drawn.metric)
  const stepsMs = drawnMetric.type === 'set' ? SET_STEPS_MS : STEPS_MS
  const windows = drawn.steps.flatMap((i) => {
    const resolutionMs = stepsMs[i]
    if (resolutionMs === undefined) return []
    return drawn.windows.map((n) => ({ metricId, resolutionMs, windowMs: NOW + (n - 1) * windowWidthMs(resolutionMs) }))
  })
  const isTouched = ({ metricId: id, stepMs, entry }: Listed): boolean =>
    compareIds(id, metricId) === 0 &&
    windows.some(({ resolutionMs, windowMs }) => resolutionMs === stepMs && windowMs === entry.windowMs)
  const replaced = drawn.replaces ? world.listed.filter(isTouched) : []
  const blocks = windows.map(() => blockOf(world, 7, 3))
  await store.writeBlocks(at, blocks, nowMs)
  const added = blocks.map(
    ({ name }, i): Listed => ({
      metricId,
      stepMs: windows[i]!.resolutionMs,
      entry: {
        block: name,
        windowMs: windows[i]!.windowMs,
        tier: drawn.tier,
        order: world.named,
        seriesFrom: { hi: 1, lo: 2 },
        seriesTo: { hi: 0xffffffff, lo: 0xfffffffe },
        // Earlier versions wrote none.
        buckets: i % 2 === 0 ? { fromMs: windows[i]!.windowMs, toMs: windows[i]!.windowMs + 1 } : undefined,
        rollupCount: world.named,
        scalarBytes: 7,
        sketchBytes: 3,
      },
    }),
  )
  const inbox = (await store.readInbox(at, 1e9)).slice(0, drawn.entries)
  const gone = { block: 'gone', order: 1, scalarBytes: 1, sketchBytes: 0, arrivedMs: NOW }
  const named = ({ stepMs, entry }: Listed) => ({ timeline: { metricId, resolutionMs: stepMs }, entry })
  const folded = await store.commitFold({
    partition: at,
    inbox: drawn.isLate ? [...inbox, gone] : inbox,
    removed: replaced.map(named),
    added: added.map(named),
    touched: windows.map((touched) => ({ ...touched, expiresMs: nowMs + drawn.keptMs })),
    nowMs,
  })
  if (folded) world.listed = [...world.listed.filter((listed) => !replaced.includes(listed)), ...added]
  return folded
})

/** As retention does it, and sometimes before it is due. */
const expiry = fc.record({ partition, max: fc.integer({ min: 1, max: 12 }), drops: fc.boolean(), isEarly: rarely })

const expire = step('expire', expiry, async (world, drawn) => {
  const { store, nowMs } = world
  const due = await store.dueWindows(drawn.partition, drawn.isEarly ? ALWAYS.toMs : nowMs, drawn.max)
  const went: boolean[] = []
  for (const window of due) {
    const isCoarsest = window.resolutionMs === STEPS_MS.at(-1)
    const dropped = drawn.drops && isCoarsest ? { dropExpiredAtResolutions: STEPS_MS.slice(0, -1) } : {}
    const goes = await store.expireWindow({ partition: drawn.partition, window, ...dropped, nowMs })
    went.push(goes)
    const isIn = ({ metricId, stepMs, entry }: Listed): boolean =>
      stepMs === window.resolutionMs &&
      entry.windowMs === window.windowMs &&
      compareIds(metricId, window.metricId) === 0
    if (goes) world.listed = world.listed.filter((listed) => !isIn(listed))
  }
  return { due, went }
})

const define = step('define', fc.array(fc.tuple(metric, rarely), { minLength: 1, maxLength: 4 }), (world, drawn) =>
  world.store.defineMetrics(
    drawn.map(([index, isOfOtherType]) => ({ ...METRICS[index]!, ...(isOfOtherType ? { type: OTHER_TYPE } : {}) })),
  ),
)

/** Also of a metric that does not exist, or does not exist any more. */
const remove = step('delete', fc.tuple(metric, rarely), async (world, [index, isOutdated]) => {
  const { project, name } = METRICS[index]!
  const generation = Math.max(1, world.generations[index]! - (isOutdated ? 1 : 0))
  const isDeleted = await world.store.deleteMetric({ project, name, generation })
  // It is removed, even if it did not exist.
  world.generations[index] = Math.max(world.generations[index]!, generation + 1)
  return isDeleted
})

const clear = step('clear', partition, async ({ store, nowMs }, at) => {
  while (await store.clearDeleted(at, 100, nowMs));
})

const permits = fc.record({ limitKey: index(2), permits: fc.nat({ max: 4 }), limit: fc.integer({ min: 1, max: 9 }) })
const takePermits = step('permits', permits, ({ store, nowMs }, { limitKey, ...request }) =>
  store.takePermits({ ...request, limitKey: `limit ${limitKey}`, windowWidthMs: HOUR, nowMs }),
)

// The server measures a lease by its own clock: one that lasts, or none.
const lease = fc.record({ partition, holder: fc.constantFrom(...HOLDERS), leaseMs: fc.constantFrom(0, 1_000 * DAY) })
const takeLease = step('lease', lease, ({ store, nowMs }, request) => store.takeLease({ ...request, nowMs }))

const receipt = fc.record({ project: fc.constantFrom(...PROJECTS), key: index(5), status: fc.constantFrom(200, 201) })
const writeReceipt = step('receipt', receipt, ({ store, nowMs }, { project, key, status }) =>
  store.writeReceipt(
    project,
    `key ${key}`,
    { requestHash: 'c'.repeat(64), status, body: bodyOf(status, nowMs) },
    nowMs,
  ),
)
/** Three short ones have room together, two long ones have not. */
const bodyOf = (status: number, nowMs: number): string => `${status === 201 ? 'x'.repeat(250) : ''}${nowMs}`

const saveKey = step('key', fc.tuple(index(3), fc.boolean()), ({ store, nowMs }, [key, isRevoked]) =>
  store.saveKey({
    hash: String(key).repeat(64),
    project: 'shop',
    scopes: ['ingest'],
    label: `key ${key} ü`,
    createdMs: nowMs,
    ...(isRevoked ? { revokedMs: nowMs } : {}),
  }),
)

const expireEvents = step(
  'events go',
  fc.record({ partition, agoMs: fc.nat({ max: 20 }) }),
  ({ store, nowMs }, expiry) => store.expireEvents(expiry.partition, nowMs - expiry.agoMs * 1_000, 100),
)

const sweep = step('sweep', fc.constant(undefined), ({ store, nowMs }) => store.sweep(nowMs))

/** Longer than markers, receipts and most windows are kept, too. */
const wait = step('wait', fc.constantFrom(1_000, MINUTE, HOUR, DAY, 8 * DAY), async (world, ms) => {
  world.nowMs += ms
})

export const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: append },
    { weight: 5, arbitrary: fold },
    { weight: 3, arbitrary: expire },
    { weight: 2, arbitrary: wait },
    { weight: 1, arbitrary: remove },
    { weight: 1, arbitrary: clear },
    ...[define, takePermits, takeLease, writeReceipt, saveKey, expireEvents, sweep].map((arbitrary) => ({
      weight: 1,
      arbitrary,
    })),
  ),
  { minLength: 10, maxLength: 40, size: 'max' },
)
