import { assert } from '../../model/errors.ts'
import { compareIds, formatId, type Id64, parseId } from '../../model/id.ts'
import { floorTo } from '../../model/time.ts'
import { IDEMPOTENCY_MARKER_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import type { AppendOutcome, Commit, CommitPart, NamedBlock, WindowKey } from '../store.ts'
import { windowStart } from '../windows.ts'
import { digestOf, type PartitionKeys, sketchName } from './keys.ts'
import { groupsOf, type RedisAccess, textLists } from './redis-access.ts'
import { runScript, ScriptCall } from './scripts.ts'
import {
  encodeEvent,
  encodeEventAge,
  encodeInboxEntry,
  encodeMetricAbout,
  encodeMetricIdentity,
  sortKeyOfName,
} from './text-encoding.ts'

/**
 * Appends commits: on a single server with one script call, on a cluster with a call for each commit.
 */

const BLOCK_NAME_CHARS_MAX = 64

export interface AppendContext {
  readonly setResolutions: readonly number[]
  /** The name of this gateway in its notifications. */
  readonly sender: string
  /** The time of commits without parts (fences). Other commits take the latest time of their parts. */
  readonly fenceMs: number
}

export async function append(
  redis: RedisAccess,
  commits: readonly Commit[],
  context: AppendContext,
): Promise<AppendOutcome[]> {
  if (commits.length === 0) return []
  const { isCluster, commits: connection } = redis.connections
  if (!isCluster) return decodeOutcomes(await runScript(connection, 'append', appendCallOf(redis, commits, context)))
  // Waits for all calls, even if one fails, so that none of them is still running when the caller retries.
  const calls = await Promise.allSettled(
    commits.map((commit) => runScript(connection, 'append', appendCallOf(redis, [commit], context))),
  )
  return calls.flatMap((call) => {
    if (call.status === 'rejected') throw call.reason
    return decodeOutcomes(call.value)
  })
}

/** Returns the metrics that a commit has changed: those of its applied parts, without duplicates. */
export function changedMetricIds({ parts }: Commit, outcome: AppendOutcome): Id64[] {
  if (outcome.status !== 'applied') return []
  const idsByText = new Map<string, Id64>()
  for (const [i, { metrics }] of parts.entries()) {
    if (outcome.skipped.includes(i)) continue
    for (const { metricId } of metrics) idsByText.set(formatId(metricId), metricId)
  }
  return [...idsByText.values()]
}

function appendCallOf(redis: RedisAccess, commits: readonly Commit[], context: AppendContext): ScriptCall {
  const call = new ScriptCall().arg(commits.length)
  for (const commit of commits) addCommit(call, redis.keys(commit.partition), commit, context)
  return call
}

function addCommit(
  call: ScriptCall,
  keys: PartitionKeys,
  commit: Commit,
  { setResolutions, sender, fenceMs }: AppendContext,
): void {
  const { writer, commitNumber, parts } = commit
  const writtenMs =
    parts.length === 0
      ? fenceMs
      : parts.reduce((latest, part) => Math.max(latest, part.nowMs), Number.NEGATIVE_INFINITY)
  call
    .key(keys.watermarks, keys.writers, keys.markers, keys.inbox, keys.counters)
    .arg(keys.channel, sender, writer, commitNumber, writtenMs, parts.length)
  for (const part of parts) addPart(call, keys, part, setResolutions)
}

function addPart(call: ScriptCall, keys: PartitionKeys, part: CommitPart, setResolutions: readonly number[]): void {
  const { marker, block, nowMs } = part
  call.arg(marker === undefined ? '' : digestOf(marker.project, marker.key), nowMs, IDEMPOTENCY_MARKER_KEPT_MS)
  if (block === undefined) call.arg('')
  else {
    addBlock(call, keys, block)
    const { name, scalars, sketches } = block
    const sizes = { scalarBytes: scalars.length, sketchBytes: sketches?.length ?? 0 }
    call.arg(encodeInboxEntry({ block: name, ...sizes, arrivedMs: nowMs }))
  }
  call.arg(part.metrics.length)
  for (const { metricId, generation, definition, points, firstMs, lastMs, cumulative } of part.metrics) {
    const { project, name } = definition
    call
      .key(keys.metric(metricId), keys.catalog(project), keys.listedNames(project), keys.deletedGenerations(project))
      .arg(
        formatId(metricId),
        name,
        sortKeyOfName(name),
        generation,
        encodeMetricIdentity(definition, generation),
        encodeMetricAbout(definition),
      )
    // If there are no points, `firstMs` and `lastMs` have no meaning.
    call.arg(points, points > 0 ? firstMs : 0, points > 0 ? lastMs : 0, cumulative ? '1' : '0')
  }
  addSeries(call, keys, part)
  addSets(call, keys, part, setResolutions)
  addEvents(call, keys, part)
}

/** Adds the keys and arguments of a block to a call of `append.lua` or `write-blocks.lua`. */
export function addBlock(call: ScriptCall, keys: PartitionKeys, { name, scalars, sketches }: NamedBlock): void {
  assert(
    name.length <= BLOCK_NAME_CHARS_MAX && /^[A-Za-z0-9._-]+$/.test(name),
    'the name of a block is short and plain',
  )
  call.key(keys.scalars(name), keys.sketches(name)).arg(name, bufferOf(scalars))
  if (sketches === undefined) call.arg('0')
  else call.arg('1', bufferOf(sketches))
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

function addSeries(call: ScriptCall, keys: PartitionKeys, { series }: CommitPart): void {
  const byMetric = groupsOf(series, ({ metricId }) => formatId(metricId))
  call.arg(byMetric.size)
  for (const [id, group] of byMetric) {
    const { metricId } = group[0]
    const tagKeys = new Set<string>()
    for (const { tags } of group) for (const [key] of tags) tagKeys.add(key)
    call
      .key(keys.metric(metricId), keys.series(metricId), keys.seriesOrder(metricId), keys.tagKeys(metricId))
      .arg(id, tagKeys.size)
    for (const key of tagKeys) call.arg(JSON.stringify(key))
    call.arg(group.length)
    for (const { seriesId, tags } of group) call.arg(formatId(seriesId), JSON.stringify(tags))
  }
}

/**
 * Adds the set members of a part to the call: first each window once, then the members for each series and bucket with
 * the sketch at each set resolution.
 */
function addSets(
  call: ScriptCall,
  keys: PartitionKeys,
  { members }: CommitPart,
  setResolutions: readonly number[],
): void {
  const positions = new Map<string, number>()
  const windows: WindowKey[] = []
  const formattedIds = new Map<Id64, string>()
  const positionOf = (window: WindowKey): number => {
    const { metricId, resolutionMs, windowMs } = window
    let metricIdText = formattedIds.get(metricId)
    if (metricIdText === undefined) formattedIds.set(metricId, (metricIdText = formatId(metricId)))
    const name = `${metricIdText}.${resolutionMs}.${windowMs}`
    let position = positions.get(name)
    if (position === undefined) {
      position = windows.push(window) - 1
      positions.set(name, position)
      call.key(keys.expiredStretches(window), keys.sketchNamesOf(window), keys.setsToDeleteOf(window))
    }
    return position
  }
  const targets = members.map(({ metricId, bucketMs: baseMs }) =>
    setResolutions.map((resolutionMs) => {
      const bucketMs = floorTo(baseMs, resolutionMs)
      const position = positionOf({ metricId, resolutionMs, windowMs: windowStart(resolutionMs, bucketMs) })
      return { resolutionMs, bucketMs, position }
    }),
  )
  call.arg(windows.length)
  for (const { windowMs } of windows) call.arg(windowMs)
  call.arg(members.length)
  for (const [i, { metricId, seriesId, members: setMembers }] of members.entries()) {
    call.arg(setMembers.length)
    for (const member of setMembers) call.arg(member)
    call.arg(setResolutions.length)
    const seriesIdText = formatId(seriesId)
    for (const { resolutionMs, bucketMs, position } of targets[i]!) {
      call
        .key(keys.sketchKeyPrefix({ metricId, resolutionMs, bucketMs }) + seriesIdText)
        .arg(position, sketchName(resolutionMs, bucketMs, seriesIdText))
    }
  }
}

function addEvents(call: ScriptCall, keys: PartitionKeys, { events }: CommitPart): void {
  const byProject = groupsOf(events, ({ project }) => project)
  call.arg(byProject.size)
  for (const [project, group] of byProject) {
    call.key(keys.events(project), keys.eventAges).arg(group.length)
    for (const event of group) call.arg(encodeEvent(event), encodeEventAge(event))
  }
}

function decodeOutcomes(reply: unknown): AppendOutcome[] {
  return textLists(reply).map(([status, ...fields]) => {
    if (status === 'applied') return { status, skipped: fields.map(Number) }
    if (status === 'known') return { status }
    if (status === 'gap') return { status, watermark: Number(fields[0]) }
    assert(status === 'conflict', 'a commit is applied, known, a gap or a conflict')
    const deleted = uniqueIds(fields.filter((id) => id.startsWith(DELETED_PREFIX)).map((id) => id.slice(1)))
    return { status, metricIds: uniqueIds(fields.map((id) => id.replace(DELETED_PREFIX, ''))), deleted }
  })
}

/** In a reply of `append.lua`, the prefix of a metric id whose generation was deleted. */
const DELETED_PREFIX = '-'

function uniqueIds(texts: readonly string[]): Id64[] {
  return [...new Set(texts)].map(parseId).sort(compareIds)
}
