import { GatewayError } from '../../model/errors.ts'
import { compareIds, formatId, type Id64, parseId } from '../../model/id.ts'
import { metricIdOf, partitionOf } from '../../model/metric.ts'
import type { CanonicalTags } from '../../model/series.ts'
import { within } from '../../model/within.ts'
import {
  LISTED_CHARS_MAX,
  listedChars,
  type MetricDefinition,
  type MetricDeletion,
  type MetricListing,
  type MetricPage,
  type MetricRow,
  type SeriesRow,
} from '../store.ts'
import { chunksOf, type Engine, groupsOf, lists, texts } from './engine.ts'
import { decodeMetric, metricAbout, metricIdentity, nameOfPlace, placeOfName } from './entries.ts'
import { Call } from './scripts.ts'

/** Metrics and their series: what is known of them, made by definitions and by the commits that touch them. */

const METRICS_PER_CALL = 100
const SERIES_PER_CALL = 1_000
/** Names read of a partition beyond its even share of a page. */
const NAMES_SPARE = 16
/** Projects whose counts are remembered. */
const PROJECTS_MAX = 10_000
/** How often a name may be deleted while it is being defined, or share an id with another metric. */
const ATTEMPTS_MAX = 16

interface Named {
  readonly project: string
  readonly name: string
  readonly metricId: Id64
}

export async function defineMetrics(engine: Engine, definitions: readonly MetricDefinition[]): Promise<MetricRow[]> {
  const rows = new Array<MetricRow>(definitions.length)
  const byPartition = new Map<number, number[]>()
  for (const [i, { project, name }] of definitions.entries()) {
    const partition = partitionOf(project, name, engine.partitions)
    const positions = byPartition.get(partition)
    if (positions === undefined) byPartition.set(partition, [i])
    else positions.push(i)
  }
  const calls = [...byPartition].flatMap(([partition, positions]) =>
    chunksOf(positions, METRICS_PER_CALL).map(async (chunk) => {
      const made = await defineChunk(
        engine,
        partition,
        chunk.map((i) => definitions[i]!),
      )
      for (const [at, i] of chunk.entries()) rows[i] = made[at]!
    }),
  )
  await Promise.all(calls)
  return rows
}

async function defineChunk(
  engine: Engine,
  partition: number,
  definitions: readonly MetricDefinition[],
): Promise<MetricRow[]> {
  const rows = new Array<MetricRow | undefined>(definitions.length).fill(undefined)
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    // In the first attempt all; later those that were deleted between the two calls.
    const missing = [...rows.keys()].filter((i) => rows[i] === undefined)
    if (missing.length === 0) break
    const standing = await idsOf(
      engine,
      partition,
      missing.map((i) => definitions[i]!),
    )
    const named = missing.map((i, at) => ({ ...definitions[i]!, metricId: standing[at]! }))
    for (const [at, row] of (await readRows(engine, partition, named)).entries()) rows[missing[at]!] = row
  }
  return rows.map((row) => {
    if (row === undefined) throw deletedMeanwhile()
    return row
  })
}

/** The ids that stand for names after they were defined: of the first generation that is free. */
async function idsOf(engine: Engine, partition: number, definitions: readonly MetricDefinition[]): Promise<Id64[]> {
  const keys = engine.keys(partition)
  const generations = new Array<number>(definitions.length).fill(1)
  const ids = new Array<Id64 | undefined>(definitions.length).fill(undefined)
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const missing = [...ids.keys()].filter((i) => ids[i] === undefined)
    if (missing.length === 0) break
    const call = new Call().arg(missing.length)
    for (const i of missing) {
      const definition = definitions[i]!
      const { project, name } = definition
      const metricId = metricIdOf(project, name, generations[i]!)
      call
        .key(keys.catalog(project), keys.deleted(project), keys.metric(metricId))
        .arg(name, formatId(metricId), generations[i]!)
        .arg(metricIdentity(definition, generations[i]!), metricAbout(definition))
    }
    for (const [at, text] of texts(await engine.run('define-metrics', call)).entries()) {
      const i = missing[at]!
      if (text.startsWith('+')) generations[i] = Number(text) + 1
      else ids[i] = parseId(text)
    }
  }
  return ids.map((id) => {
    if (id === undefined) throw deletedMeanwhile()
    return id
  })
}

function deletedMeanwhile(): GatewayError {
  return new GatewayError('store_unavailable', 'a metric is deleted faster than it can be defined; try again')
}

/** Answers the id of the metric that went, if any. */
export async function deleteMetric(
  engine: Engine,
  { project, name, generation }: MetricDeletion,
  sender: string,
): Promise<Id64 | undefined> {
  const keys = engine.keys(partitionOf(project, name, engine.partitions))
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const standing = await engine.call('hget', keys.catalog(project), name)
    const id = standing === null ? undefined : parseId(String(standing))
    const call = new Call()
      .key(keys.catalog(project), keys.names(project), keys.deleted(project))
      .key(keys.metric(id ?? metricIdOf(project, name, generation)), keys.counters, keys.dying)
      .arg(keys.channel, sender, name, placeOfName(name), id === undefined ? '' : formatId(id), generation)
    const status = await engine.run('delete-metric', call)
    if (status !== 'changed') return status === 'gone' ? id : undefined
  }
  throw new GatewayError('store_unavailable', 'a metric changes faster than it can be deleted; try again')
}

export async function readMetric(engine: Engine, project: string, name: string): Promise<MetricRow | undefined> {
  // In UTF-8 it would be the name of another metric.
  if (!name.isWellFormed()) return undefined
  const partition = partitionOf(project, name, engine.partitions)
  const [row] = await readRows(engine, partition, [{ project, name, metricId: metricIdOf(project, name, 1) }])
  return row
}

/** Calls of one partition follow each other, so that a server is not asked for all of a long list at once. */
export async function readMetrics(
  engine: Engine,
  project: string,
  names: readonly string[],
): Promise<(MetricRow | undefined)[]> {
  const found = new Array<MetricRow | undefined>(names.length).fill(undefined)
  const byPartition = groupsOf(names.keys(), (i) => String(partitionOf(project, names[i]!, engine.partitions)))
  const reads = [...byPartition].map(async ([partition, positions]) => {
    for (const chunk of chunksOf(positions, METRICS_PER_CALL)) {
      const named = chunk.map((i) => ({ project, name: names[i]!, metricId: metricIdOf(project, names[i]!, 1) }))
      const read = await readRows(engine, Number(partition), named)
      for (const [at, i] of chunk.entries()) found[i] = read[at]
    }
  })
  await Promise.all(reads)
  return found
}

/** How long one that responds late is waited for, while others respond. */
const COUNT_MS_MAX = 250

interface PartitionCount {
  /** As last heard. */
  metrics: number
  /** Asked and not yet answered. */
  asked: number
  /** It has not responded in time: nobody asks until it does. */
  isSilent: boolean
}

/** Counts metrics over all partitions. A node of a cluster that is away counts with what it last said, and holds up nobody for long. */
export class MetricCounts {
  readonly #counts = new Map<string, PartitionCount[]>()

  async count(engine: Engine, project: string): Promise<number> {
    const counts = this.#of(engine, project)
    const answers = counts.flatMap((count, partition) => (count.isSilent ? [] : ask(engine, project, partition, count)))
    if (!engine.connections.isCluster) await Promise.all(answers)
    else {
      await within(COUNT_MS_MAX, () => Promise.allSettled(answers)).catch(() => {
        for (const count of counts) count.isSilent = count.asked > 0
      })
    }
    return counts.reduce((sum, { metrics }) => sum + metrics, 0)
  }

  #of(engine: Engine, project: string): PartitionCount[] {
    let counts = this.#counts.get(project)
    if (counts === undefined) {
      if (this.#counts.size >= PROJECTS_MAX) this.#counts.clear()
      this.#counts.set(project, (counts = engine.all().map(() => ({ metrics: 0, asked: 0, isSilent: false }))))
    }
    return counts
  }
}

async function ask(engine: Engine, project: string, partition: number, count: PartitionCount): Promise<void> {
  count.asked++
  try {
    count.metrics = Number(await engine.call('hlen', engine.keys(partition).catalog(project)))
  } finally {
    count.asked--
    count.isSilent = false
  }
}

/** Rows by name; the id is a guess, and where another stands for the name its row is read. */
async function readRows(
  engine: Engine,
  partition: number,
  metrics: readonly Named[],
): Promise<(MetricRow | undefined)[]> {
  const keys = engine.keys(partition)
  const call = new Call().arg(metrics.length)
  for (const { project, name, metricId } of metrics) {
    call
      .key(keys.catalog(project), keys.metric(metricId), keys.seriesOrder(metricId), keys.tagKeys(metricId))
      .arg(name, formatId(metricId))
  }
  const replies = lists(await engine.run('read-metrics', call))
  return Promise.all(
    replies.map(async (reply, i) => {
      const [id] = reply
      if (id === undefined) return undefined
      const asked = metrics[i]!
      const metricId = parseId(id)
      if (compareIds(metricId, asked.metricId) === 0) return decodeMetric(reply, partition)
      const [row] = await readRows(engine, partition, [{ ...asked, metricId }])
      return row
    }),
  )
}

export async function listMetrics(
  engine: Engine,
  project: string,
  { after, namesMax, matches = () => true }: MetricListing,
): Promise<MetricPage> {
  const { names, next } = await namesAfter(engine, project, after, namesMax)
  const metrics: MetricRow[] = []
  let chars = 0
  for (const chunk of chunksOf(
    names.filter(({ name }) => matches(name)),
    METRICS_PER_CALL,
  )) {
    for (const row of await rowsOf(engine, project, chunk)) {
      if (row === undefined || row.points === 0) continue
      metrics.push(row)
      chars += listedChars(row)
    }
    if (chars > LISTED_CHARS_MAX) return { metrics, next: chunk.at(-1)!.name }
  }
  return { metrics, next }
}

interface PlacedName {
  readonly name: string
  readonly partition: number
}

/** The next names of all partitions in their order: from each some more than its share, for names spread evenly. */
async function namesAfter(
  engine: Engine,
  project: string,
  after: string | undefined,
  namesMax: number,
): Promise<{ readonly names: readonly PlacedName[]; readonly next: string | undefined }> {
  const share = Math.min(namesMax, Math.ceil(namesMax / engine.partitions) + NAMES_SPARE)
  const from = after === undefined ? '-' : `(${placeOfName(after)}`
  const shares = await Promise.all(
    engine.all().map(async (partition) => {
      const key = engine.keys(partition).names(project)
      const places = texts(await engine.call('zrangebylex', key, from, '+', 'LIMIT', 0, share))
      return places.map((place) => ({ name: nameOfPlace(place), partition }))
    }),
  )
  // A partition that gave its share may have more: what others have beyond its last name has to wait.
  const ends = shares.flatMap((names) => (names.length === share ? [names.at(-1)!.name] : []))
  const end = ends.sort(byCodeUnits)[0]
  const found = shares.flat().filter(({ name }) => end === undefined || name <= end)
  found.sort((a, b) => byCodeUnits(a.name, b.name))
  const names = found.slice(0, namesMax)
  return { names, next: names.length < found.length ? names.at(-1)!.name : end }
}

/** In the order asked. */
async function rowsOf(
  engine: Engine,
  project: string,
  names: readonly PlacedName[],
): Promise<(MetricRow | undefined)[]> {
  const rows = new Map<string, MetricRow>()
  const byPartition = groupsOf(names, ({ partition }) => String(partition))
  await Promise.all(
    [...byPartition.values()].map(async (group) => {
      const named = group.map(({ name }) => ({ project, name, metricId: metricIdOf(project, name, 1) }))
      for (const row of await readRows(engine, group[0].partition, named)) {
        if (row !== undefined) rows.set(row.name, row)
      }
    }),
  )
  return names.map(({ name }) => rows.get(name))
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

export async function readSeries(
  engine: Engine,
  partition: number,
  metricId: Id64,
  cursor: number,
  limit: number,
): Promise<SeriesRow[] | undefined> {
  const keys = engine.keys(partition)
  const rows: SeriesRow[] = []
  do {
    const page = Math.min(limit - rows.length, SERIES_PER_CALL)
    const call = new Call().key(keys.seriesOrder(metricId), keys.series(metricId)).arg(cursor + rows.length, page)
    const [status, ...fields] = texts(await engine.run('read-series', call))
    if (status === 'beyond') return undefined
    for (let i = 0; i < fields.length; i += 2) {
      rows.push({ seriesId: parseId(fields[i]!), tags: JSON.parse(fields[i + 1]!) as CanonicalTags })
    }
    if (fields.length < 2 * page) break
  } while (rows.length < limit)
  return rows
}

export async function hasSeries(
  engine: Engine,
  partition: number,
  metricId: Id64,
  seriesIds: readonly Id64[],
): Promise<boolean[]> {
  const series = engine.keys(partition).series(metricId)
  const replies = await Promise.all(
    chunksOf(seriesIds, SERIES_PER_CALL).map((chunk) => {
      const call = new Call().key(series).arg(chunk.length)
      for (const id of chunk) call.arg(formatId(id))
      return engine.run('has-series', call)
    }),
  )
  return replies.flatMap((digits) => [...String(digits)].map((digit) => digit === '1'))
}
