import { GatewayError } from '../../model/errors.ts'
import { UNCOMMITTED_BLOCK_KEPT_MS, UNLISTED_BLOCK_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import { compareIndexEntries } from '../index-order.ts'
import type {
  BlockStringName,
  FoldCommit,
  InboxEntry,
  IndexRequest,
  IndexSnapshot,
  LeaseRequest,
  NamedBlock,
  TimelineIndex,
  TimelineKey,
  WindowExpiry,
  WindowKey,
} from '../store.ts'
import { windowStart, windowWidthMs } from '../windows.ts'
import { addBlock } from './append.ts'
import { windowName } from './keys.ts'
import { chunksOf, type RedisAccess, SERVER_TTL_MS, textList, textLists } from './redis-access.ts'
import { ScriptCall } from './scripts.ts'
import { clearSets } from './sets.ts'
import {
  decodeInboxEntry,
  decodeIndexEntry,
  decodeStretch,
  decodeWindow,
  encodeInboxEntry,
  encodeIndexEntry,
  encodeWindow,
} from './text-encoding.ts'

/**
 * Reads and changes the inbox and the timelines, which list the blocks with the stored data. A fold, a merge or an
 * expiry changes them in one atomic step.
 */

/** Blocks per read. A string of a block rarely has more than 1 MiB, so a reply rarely has more than 16 MiB. */
const BLOCKS_PER_READ = 16
/**
 * Maximum bytes of the blocks in a call, which the server copies in less than 1 ms. A larger block gets its own call.
 */
const WRITTEN_BYTES_PER_CALL_MAX = 1 << 18
/**
 * Attempts to expire a window. An attempt fails if the window changes, or set sketches of an earlier expiry are left.
 */
const EXPIRY_ATTEMPTS_MAX = 10

export async function readIndex(redis: RedisAccess, request: IndexRequest): Promise<IndexSnapshot> {
  const { partition, metricId, timelines, withInbox } = request
  const keys = redis.keys(partition)
  const call = new ScriptCall().key(keys.inbox).arg(withInbox ? '1' : '0', timelines.length)
  for (const { resolutionMs, stretch } of timelines) {
    const timeline = { metricId, resolutionMs }
    call
      .key(keys.timeline(timeline), keys.expiredStretches(timeline))
      .arg(windowStart(resolutionMs, stretch.fromMs), stretch.fromMs, stretch.toMs)
  }
  const [inboxReply, ...replies] = textLists(await redis.run('read-index', call))
  return {
    inbox: decodeInboxReply(inboxReply!),
    timelines: timelines.map(
      ({ resolutionMs }, i): TimelineIndex => ({
        resolutionMs,
        entries: replies[2 * i]!.map(decodeIndexEntry).sort(compareIndexEntries),
        expired: replies[2 * i + 1]!.map(decodeStretch),
      }),
    ),
  }
}

function decodeInboxReply(reply: readonly string[]): InboxEntry[] {
  const entries: InboxEntry[] = []
  for (let i = 0; i < reply.length; i += 2) entries.push(decodeInboxEntry(reply[i]!, reply[i + 1]!))
  return entries
}

export async function readInbox(
  redis: RedisAccess,
  partition: number,
  bytesMax: number,
  entriesMax = Number.MAX_SAFE_INTEGER,
): Promise<InboxEntry[]> {
  const bytes = Math.min(Math.max(0, Math.floor(bytesMax)), Number.MAX_SAFE_INTEGER)
  const reply = await redis.run('read-inbox', new ScriptCall().key(redis.keys(partition).inbox).arg(bytes, entriesMax))
  return decodeInboxReply(textList(reply))
}

export async function inboxSize(redis: RedisAccess, partition: number): Promise<{ entries: number; bytes: number }> {
  const keys = redis.keys(partition)
  const [entries, bytes] = textList(await redis.run('inbox-size', new ScriptCall().key(keys.inbox, keys.counters)))
  return { entries: Number(entries), bytes: Number(bytes) }
}

export async function readBlocks(
  redis: RedisAccess,
  partition: number,
  names: readonly string[],
  stringName: BlockStringName,
): Promise<(Uint8Array | undefined)[]> {
  const keys = redis.keys(partition)
  const replies = await Promise.all(
    chunksOf(names, BLOCKS_PER_READ).map((chunk) =>
      redis.connections.common.callBuffer('mget', chunk.map(keys[stringName])),
    ),
  )
  const strings = replies as (readonly (Buffer | null)[])[]
  // A reply may be a view of a large network buffer. It is copied, so that a cached block does not keep this buffer.
  return strings.flat().map((bytes) => (bytes === null ? undefined : new Uint8Array(bytes)))
}

export async function writeBlocks(
  redis: RedisAccess,
  partition: number,
  blocks: readonly NamedBlock[],
  nowMs: number,
): Promise<void> {
  const keys = redis.keys(partition)
  let chunk: NamedBlock[] = []
  let chunkBytes = 0
  const send = async (): Promise<void> => {
    const call = new ScriptCall()
      .key(keys.expiringBlocks)
      .arg(nowMs + UNCOMMITTED_BLOCK_KEPT_MS, SERVER_TTL_MS, chunk.length)
    for (const block of chunk) addBlock(call, keys, block)
    chunk = []
    chunkBytes = 0
    await redis.run('write-blocks', call)
  }
  for (const block of blocks) {
    const blockBytes = block.scalars.length + (block.sketches?.length ?? 0)
    if (chunk.length > 0 && chunkBytes + blockBytes > WRITTEN_BYTES_PER_CALL_MAX) await send()
    chunk.push(block)
    chunkBytes += blockBytes
  }
  if (chunk.length > 0) await send()
}

/** Applies a fold or a merge. Returns false if `commit-fold.lua` refuses it; then nothing is changed. */
export async function commitFold(redis: RedisAccess, fold: FoldCommit): Promise<boolean> {
  const keys = redis.keys(fold.partition)
  const blockKeys = (block: string): readonly [string, string] => [keys.scalars(block), keys.sketches(block)]
  const encodeWindowOf = (timeline: TimelineKey, windowMs: number): string => encodeWindow({ ...timeline, windowMs })
  const call = new ScriptCall()
    .key(keys.inbox, keys.counters, keys.dueWindows, keys.expiringBlocks, keys.extraListings)
    .arg(fold.nowMs + UNLISTED_BLOCK_KEPT_MS, SERVER_TTL_MS)
  call.arg(fold.inbox.length)
  for (const entry of fold.inbox) {
    call.arg(entry.order, encodeInboxEntry(entry), entry.block, entry.scalarBytes + entry.sketchBytes)
  }
  call.arg(fold.removed.length)
  for (const { timeline, entry } of fold.removed) {
    call
      .key(keys.timeline(timeline), ...blockKeys(entry.block))
      .arg(encodeWindowOf(timeline, entry.windowMs), entry.windowMs, encodeIndexEntry(entry), entry.block)
  }
  call.arg(fold.added.length)
  for (const { timeline, entry } of fold.added) {
    call
      .key(keys.timeline(timeline), keys.expiredStretches(timeline), ...blockKeys(entry.block))
      .arg(encodeWindowOf(timeline, entry.windowMs), entry.windowMs, windowWidthMs(timeline.resolutionMs))
      .arg(encodeIndexEntry(entry), entry.block)
  }
  call.arg(fold.touched.length)
  for (const window of fold.touched) {
    call.key(keys.timeline(window)).arg(encodeWindow(window), window.windowMs, window.expiresMs)
  }
  const partlyFolded = fold.partlyFolded ?? []
  call.arg(partlyFolded.length)
  for (const { entry, block } of partlyFolded) {
    const { name, scalars, sketches } = block
    const sizes = { scalarBytes: scalars.length, sketchBytes: sketches?.length ?? 0 }
    call
      .key(...blockKeys(name))
      .arg(
        entry.order,
        encodeInboxEntry({ ...entry, block: name, ...sizes }),
        name,
        sizes.scalarBytes + sizes.sketchBytes,
      )
  }
  return (await redis.run('commit-fold', call)) === 'folded'
}

/**
 * Takes, extends or releases a lease. The clock of the server decides when a lease ends, because the clocks of gateways
 * may differ.
 */
export async function takeLease(redis: RedisAccess, { partition, holder, leaseMs }: LeaseRequest): Promise<boolean> {
  const call = new ScriptCall().key(redis.keys(partition).lease).arg(holder, leaseMs)
  return Number(await redis.run('take-lease', call)) === 1
}

export async function dueWindows(
  redis: RedisAccess,
  partition: number,
  nowMs: number,
  max: number,
): Promise<WindowKey[]> {
  const key = redis.keys(partition).dueWindows
  return textList(await redis.call('zrangebyscore', key, '-inf', nowMs, 'LIMIT', 0, max)).map(decodeWindow)
}

/** Expires a window. Returns false, and leaves the window as it is, if the window expires after `dueByMs`. */
export async function expireWindow(
  redis: RedisAccess,
  expiry: WindowExpiry,
  dueByMs: number = expiry.nowMs,
): Promise<boolean> {
  const { partition, window } = expiry
  for (let attempt = 0; attempt < EXPIRY_ATTEMPTS_MAX; attempt++) {
    const status = await redis.run('expire-window', await expiryCall(redis, expiry, dueByMs))
    if (status === 'kept') return false
    if (status === 'expired' || status === 'unfinished') await clearSets(redis, partition, window)
    if (status === 'expired') return true
  }
  throw new GatewayError('store_unavailable', 'a window changes faster than it can be expired; try again')
}

/**
 * Returns the call of `expire-window.lua`. A script needs all its keys in advance, so the entries of the window are
 * read here. The script refuses the call if the entries have changed meanwhile.
 */
async function expiryCall(
  redis: RedisAccess,
  { partition, window, dropExpiredAtResolutions, nowMs }: WindowExpiry,
  dueByMs: number,
): Promise<ScriptCall> {
  const keys = redis.keys(partition)
  const { metricId, resolutionMs, windowMs } = window
  const reply = await redis.call('zrangebyscore', keys.timeline(window), windowMs, windowMs)
  const members = textList(reply)
  const call = new ScriptCall()
    .key(keys.dueWindows, keys.timeline(window), keys.expiredStretches(window), keys.expiringBlocks, keys.extraListings)
    .key(keys.sketchNamesOf(window), keys.setsToDeleteOf(window), keys.windowsWithSetsToDelete)
    .arg(encodeWindow(window), windowName(window), windowMs, windowWidthMs(resolutionMs), dueByMs)
    .arg(
      nowMs + UNLISTED_BLOCK_KEPT_MS,
      SERVER_TTL_MS,
      dropExpiredAtResolutions === undefined ? '1' : '0',
      members.length,
    )
  for (const member of members) {
    const { block } = decodeIndexEntry(member)
    call.key(keys.scalars(block), keys.sketches(block)).arg(member, block)
  }
  const dropped = dropExpiredAtResolutions ?? []
  call.arg(dropped.length)
  for (const finerMs of dropped) call.key(keys.expiredStretches({ metricId, resolutionMs: finerMs }))
  return call
}
