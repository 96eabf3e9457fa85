import { GatewayError } from '../../model/errors.ts'
import { formatId, type Id64, parseId } from '../../model/id.ts'
import { metricIdOf, partitionOf } from '../../model/metric.ts'
import type { CanonicalTags } from '../../model/series.ts'
import type { MetricDefinition, MetricDeletion, MetricListing, MetricPage, MetricRow, SeriesRow } from '../catalog.ts'
import { LISTED_TAG_KEY_CHARS_MAX, tagKeyChars } from '../listing.ts'
import { chunksOf, groupsOf, type RedisAccess, textList, textLists } from './redis-access.ts'
import { ScriptCall } from './scripts.ts'
import { decodeMetric, encodeMetricAbout, encodeMetricIdentity, nameOfSortKey, sortKeyOfName } from './text-encoding.ts'

/**
 * Reads, creates and deletes the rows of metrics, and reads those of series. Project and name of a metric decide its
 * partition, so metrics of several partitions take at least a call for each partition.
 */

const METRICS_PER_CALL = 100
const SERIES_PER_CALL = 1_000
/** To read a page of names, each partition is asked for an even share of the page, and for this many names more. */
const EXTRA_NAMES_PER_PARTITION = 16
/** Attempts to define or delete a name. One fails if another gateway changes the name, or a generation is unusable. */
const ATTEMPTS_MAX = 16

interface NamedMetric {
  readonly project: string
  readonly name: string
  readonly metricId: Id64
}

export async function defineMetrics(
  redis: RedisAccess,
  definitions: readonly MetricDefinition[],
): Promise<MetricRow[]> {
  const rows = new Array<MetricRow>(definitions.length)
  const byPartition = groupsOf(definitions.keys(), (i) => {
    const { project, name } = definitions[i]!
    return partitionOf(project, name, redis.partitions)
  })
  const calls = [...byPartition].flatMap(([partition, positions]) =>
    chunksOf(positions, METRICS_PER_CALL).map(async (chunk) => {
      const chunkRows = await defineChunk(
        redis,
        partition,
        chunk.map((i) => definitions[i]!),
      )
      for (const [chunkIndex, i] of chunk.entries()) rows[i] = chunkRows[chunkIndex]!
    }),
  )
  await Promise.all(calls)
  return rows
}

async function defineChunk(
  redis: RedisAccess,
  partition: number,
  definitions: readonly MetricDefinition[],
): Promise<MetricRow[]> {
  const rows = new Array<MetricRow | undefined>(definitions.length).fill(undefined)
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    // A row is still missing after an attempt if the metric was deleted between `defineIds` and `readRows`.
    const missing = [...rows.keys()].filter((i) => rows[i] === undefined)
    if (missing.length === 0) break
    const ids = await defineIds(
      redis,
      partition,
      missing.map((i) => definitions[i]!),
    )
    const named = missing.map((i, missingIndex) => ({ ...definitions[i]!, metricId: ids[missingIndex]! }))
    const missingRows = await readRows(redis, partition, named)
    for (const [missingIndex, i] of missing.entries()) rows[i] = missingRows[missingIndex]
  }
  return rows.map((row) => {
    if (row === undefined) throw changesTooFastError()
    return row
  })
}

/** Defines the metrics that do not exist, each with its first usable generation. Returns the metric ids of all. */
async function defineIds(
  redis: RedisAccess,
  partition: number,
  definitions: readonly MetricDefinition[],
): Promise<Id64[]> {
  const keys = redis.keys(partition)
  const generations = new Array<number>(definitions.length).fill(1)
  const ids = new Array<Id64 | undefined>(definitions.length).fill(undefined)
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const missing = [...ids.keys()].filter((i) => ids[i] === undefined)
    if (missing.length === 0) break
    const call = new ScriptCall().arg(missing.length)
    for (const i of missing) {
      const definition = definitions[i]!
      const { project, name } = definition
      const metricId = metricIdOf(project, name, generations[i]!)
      call
        .key(keys.catalog(project), keys.deletedGenerations(project), keys.metric(metricId))
        .arg(name, formatId(metricId), generations[i]!)
        .arg(encodeMetricIdentity(definition, generations[i]!), encodeMetricAbout(definition))
    }
    for (const [missingIndex, text] of textList(await redis.run('define-metrics', call)).entries()) {
      const i = missing[missingIndex]!
      if (text.startsWith('+')) generations[i] = Number(text) + 1
      else ids[i] = parseId(text)
    }
  }
  return ids.map((id) => {
    if (id === undefined) throw changesTooFastError()
    return id
  })
}

function changesTooFastError(): GatewayError {
  return new GatewayError('store_unavailable', 'a metric is deleted and defined at the same time; try again')
}

/** Returns the id of the deleted metric; undefined if no metric was deleted. */
export async function deleteMetric(
  redis: RedisAccess,
  { project, name, generation }: MetricDeletion,
  sender: string,
): Promise<Id64 | undefined> {
  const keys = redis.keys(partitionOf(project, name, redis.partitions))
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const idText = await redis.call('hget', keys.catalog(project), name)
    const id = idText === null ? undefined : parseId(String(idText))
    const call = new ScriptCall()
      .key(keys.catalog(project), keys.listedNames(project), keys.deletedGenerations(project))
      .key(keys.metric(id ?? metricIdOf(project, name, generation)), keys.counters, keys.metricsToRemove)
      .arg(keys.channel, sender, name, sortKeyOfName(name), id === undefined ? '' : formatId(id), generation)
    const status = await redis.run('delete-metric', call)
    if (status !== 'changed') return status === 'deleted' ? id : undefined
  }
  throw changesTooFastError()
}

export async function readMetric(redis: RedisAccess, project: string, name: string): Promise<MetricRow | undefined> {
  // A lone surrogate has no UTF-8 form: the Redis client would replace it, and so read another name.
  if (!name.isWellFormed()) return undefined
  const [row] = await readMetrics(redis, project, [name])
  return row
}

/**
 * Returns the rows in the order of `names`; undefined where no metric has the name. Sends the next call to a partition
 * only after the reply to the previous call, so that the server can run other commands between the calls.
 */
export async function readMetrics(
  redis: RedisAccess,
  project: string,
  names: readonly string[],
): Promise<(MetricRow | undefined)[]> {
  const rows = new Array<MetricRow | undefined>(names.length).fill(undefined)
  const byPartition = groupsOf(names.keys(), (i) => partitionOf(project, names[i]!, redis.partitions))
  const reads = [...byPartition].map(async ([partition, positions]) => {
    for (const chunk of chunksOf(positions, METRICS_PER_CALL)) {
      const named = chunk.map((i) => ({ project, name: names[i]!, metricId: metricIdOf(project, names[i]!, 1) }))
      const chunkRows = await readRows(redis, partition, named)
      for (const [chunkIndex, i] of chunk.entries()) rows[i] = chunkRows[chunkIndex]
    }
  })
  await Promise.all(reads)
  return rows
}

/**
 * Reads rows by name. A script needs the key of a row in advance, so `metricId` may be a guess: the id of generation 1.
 * If it is wrong, the reply has the right id, and a further call reads the row.
 */
async function readRows(
  redis: RedisAccess,
  partition: number,
  metrics: readonly NamedMetric[],
): Promise<(MetricRow | undefined)[]> {
  const keys = redis.keys(partition)
  const call = new ScriptCall().arg(metrics.length)
  for (const { project, name, metricId } of metrics) {
    call
      .key(keys.catalog(project), keys.metric(metricId), keys.seriesOrder(metricId), keys.tagKeys(metricId))
      .arg(name, formatId(metricId))
  }
  const replies = textLists(await redis.run('read-metrics', call))
  const rows = replies.map((reply) => (reply.length > 1 ? decodeMetric(reply, partition) : undefined))
  // A reply has only an id if the guess was wrong, or if the call has reached its limit of tag keys.
  const unreadIndexes = [...replies.keys()].filter((i) => replies[i]!.length === 1)
  if (unreadIndexes.length > 0) {
    const named = unreadIndexes.map((i) => ({ ...metrics[i]!, metricId: parseId(replies[i]![0]!) }))
    const unreadRows = await readRows(redis, partition, named)
    for (const [unreadIndex, i] of unreadIndexes.entries()) rows[i] = unreadRows[unreadIndex]
  }
  return rows
}

export async function listMetrics(
  redis: RedisAccess,
  project: string,
  { after, namesMax, matches = () => true }: MetricListing,
): Promise<MetricPage> {
  const { names, next } = await namesAfter(redis, project, after, namesMax)
  const metrics: MetricRow[] = []
  let tagKeyCharCount = 0
  for (const chunk of chunksOf(names.filter(matches), METRICS_PER_CALL)) {
    for (const row of await readMetrics(redis, project, chunk)) {
      if (row === undefined || row.points === 0) continue
      metrics.push(row)
      tagKeyCharCount += tagKeyChars(row)
    }
    if (tagKeyCharCount > LISTED_TAG_KEY_CHARS_MAX) return { metrics, next: chunk.at(-1) }
  }
  return { metrics, next }
}

/**
 * Returns at most `namesMax` names of all partitions after the cursor `after`, sorted, and the cursor of the next page.
 */
async function namesAfter(
  redis: RedisAccess,
  project: string,
  after: string | undefined,
  namesMax: number,
): Promise<{ readonly names: readonly string[]; readonly next: string | undefined }> {
  const namesPerPartition = Math.min(namesMax, Math.ceil(namesMax / redis.partitions) + EXTRA_NAMES_PER_PARTITION)
  const from = after === undefined ? '-' : `(${sortKeyOfName(after)}`
  const namesByPartition = await Promise.all(
    redis.allPartitions().map(async (partition) => {
      const key = redis.keys(partition).listedNames(project)
      const sortKeys = textList(await redis.call('zrangebylex', key, from, '+', 'LIMIT', 0, namesPerPartition))
      return sortKeys.map(nameOfSortKey)
    }),
  )
  // A partition that returned as many names as it was asked for may have more after its last name. So the page has no
  // name after the last name of such a partition; if there are several, none after the smallest of their last names.
  const ends = namesByPartition.flatMap((names) => (names.length === namesPerPartition ? [names.at(-1)!] : []))
  const end = ends.sort(byCodeUnits)[0]
  const namesUntilEnd = namesByPartition.flat().filter((name) => end === undefined || name <= end)
  const names = namesUntilEnd.sort(byCodeUnits).slice(0, namesMax)
  return { names, next: names.length < namesUntilEnd.length ? names.at(-1) : end }
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

export async function readSeries(
  redis: RedisAccess,
  partition: number,
  metricId: Id64,
  cursor: number,
  limit: number,
): Promise<SeriesRow[] | undefined> {
  const keys = redis.keys(partition)
  const rows: SeriesRow[] = []
  do {
    const pageLimit = Math.min(limit - rows.length, SERIES_PER_CALL)
    const call = new ScriptCall()
      .key(keys.seriesOrder(metricId), keys.series(metricId))
      .arg(cursor + rows.length, pageLimit)
    const [status, ...fields] = textList(await redis.run('read-series', call))
    if (status === 'beyond') return undefined
    for (let i = 0; i < fields.length; i += 2) {
      rows.push({ seriesId: parseId(fields[i]!), tags: JSON.parse(fields[i + 1]!) as CanonicalTags })
    }
    if (fields.length < 2 * pageLimit) break
  } while (rows.length < limit)
  return rows
}

export async function hasSeries(
  redis: RedisAccess,
  partition: number,
  metricId: Id64,
  seriesIds: readonly Id64[],
): Promise<boolean[]> {
  const series = redis.keys(partition).series(metricId)
  const replies = await Promise.all(
    chunksOf(seriesIds, SERIES_PER_CALL).map((chunk) => {
      const call = new ScriptCall().key(series).arg(chunk.length)
      for (const id of chunk) call.arg(formatId(id))
      return redis.run('has-series', call)
    }),
  )
  return replies.flatMap((digits) => [...String(digits)].map((digit) => digit === '1'))
}
