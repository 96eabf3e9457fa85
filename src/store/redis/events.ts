import type { EventPosition, EventRequest, StoredEvent } from '../events.ts'
import { type RedisAccess, textList } from './redis-access.ts'
import { ScriptCall } from './scripts.ts'
import { decodeEvent, decodeEventAge, encodeEventTime } from './text-encoding.ts'

/**
 * Reads and expires events. An event is stored in the partition of its commit, which need not be that of other events
 * of its project. Events expire in the order of their commits.
 */

/** Events per call of `expire-events.lua`. */
const EXPIRED_PER_CALL = 200

interface EventPage {
  /** Whether the page was limited, so that the partition may have more events after it. */
  readonly isLimited: boolean
  readonly events: readonly StoredEvent[]
}

/**
 * Reads a page from each partition and merges the pages, newest first. If a page was limited, its partition may have
 * more events, which come after the page. So events that come after the end of any limited page are left out.
 */
export async function readEvents(redis: RedisAccess, request: EventRequest): Promise<StoredEvent[]> {
  const { project, fromMs, toMs, after, limit, bytesMax } = request
  const oldest = `[${encodeEventTime(fromMs)}`
  // A member is time, id, NUL and JSON. A text of only time and id sorts just before the member of the same event. So
  // the page, which goes from newer to older events, begins after the event of the cursor.
  const newest =
    after !== undefined && after.timeMs <= toMs
      ? `(${encodeEventTime(after.timeMs)}${after.id}`
      : `(${encodeEventTime(toMs + 1)}`
  const pages = await Promise.all(
    redis.allPartitions().map(async (partition): Promise<EventPage> => {
      const call = new ScriptCall().key(redis.keys(partition).events(project)).arg(newest, oldest, limit, bytesMax)
      const [isLimited, ...members] = textList(await redis.run('read-events', call))
      return { isLimited: isLimited === '1', events: members.map((member) => decodeEvent(project, member)) }
    }),
  )
  const merged = pages.flatMap(({ events }) => events).sort(newestFirst)
  const limitedPageEnds = pages
    .flatMap(({ isLimited, events }) => (isLimited ? events.slice(-1) : []))
    .sort(newestFirst)
  const [newestEnd] = limitedPageEnds
  const mergedUntilEnd = newestEnd === undefined ? merged : merged.filter((event) => newestFirst(event, newestEnd) <= 0)
  return withinBytes(mergedUntilEnd.slice(0, limit), bytesMax)
}

function newestFirst(a: EventPosition, b: EventPosition): number {
  return b.timeMs - a.timeMs || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0)
}

function withinBytes(events: readonly StoredEvent[], bytesMax: number): StoredEvent[] {
  let bytes = 0
  const end = events.findIndex(({ json }, i) => {
    bytes += Buffer.byteLength(json)
    return bytes > bytesMax && i > 0
  })
  return events.slice(0, end < 0 ? events.length : end)
}

export async function expireEvents(
  redis: RedisAccess,
  partition: number,
  committedByMs: number,
  max: number,
): Promise<number> {
  const keys = redis.keys(partition)
  let removedCount = 0
  while (removedCount < max) {
    const wanted = Math.min(EXPIRED_PER_CALL, max - removedCount)
    const reply = await redis.call('zrangebyscore', keys.eventAges, '-inf', committedByMs, 'LIMIT', 0, wanted)
    const ages = textList(reply)
    if (ages.length === 0) break
    const call = new ScriptCall().key(keys.eventAges).arg(committedByMs, ages.length)
    for (const age of ages) {
      const { project, from, to } = decodeEventAge(age)
      call.key(keys.events(project)).arg(age, `[${from}`, `(${to}`)
    }
    removedCount += Number(await redis.run('expire-events', call))
    if (ages.length < wanted) break
  }
  return removedCount
}
