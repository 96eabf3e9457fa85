import { type Id64, parseId } from '../../model/id.ts'
import { type Engine, texts } from './engine.ts'
import { decodeIndexEntry } from './entries.ts'
import { expireWindow, readInbox } from './timelines.ts'

/**
 * What is left of metrics that were deleted. Until the inbox of that time is folded they are treated as if they lived; then nothing can
 * come back: later commits are refused, and a fold or a merge that began earlier finds its inbox entries or its blocks gone.
 */

/** Index entries looked at for their windows at a time. */
const ENTRIES_PER_READ = 200
/** Metrics looked at in one call: those that wait for a fold come by again. */
const METRICS_PER_TURN = 100

/** Removes at most some `max` windows; whether there is more to do now. */
export async function clearDeleted(
  engine: Engine,
  partition: number,
  resolutions: readonly number[],
  max: number,
  nowMs: number,
): Promise<boolean> {
  const keys = engine.keys(partition)
  const reply = await engine.call('hscan', keys.dying, 0, 'COUNT', METRICS_PER_TURN)
  const [, dying] = reply as [string, string[]]
  if (dying.length === 0) return false
  const [oldest] = await readInbox(engine, partition, 0)
  const oldestOrder = oldest?.order ?? Number.POSITIVE_INFINITY
  let left = max
  for (let i = 0; i < dying.length; i += 2) {
    if (Number(dying[i + 1]) >= oldestOrder) continue
    const metricId = parseId(dying[i]!)
    left -= await clearWindows(engine, partition, metricId, resolutions, left, nowMs)
    if (left <= 0) return true
    // Large ones too are freed behind the server's back.
    const expired = resolutions.map((resolutionMs) => keys.expired({ metricId, resolutionMs }))
    await engine.call('unlink', keys.series(metricId), keys.seriesOrder(metricId), keys.tagKeys(metricId), ...expired)
    // The last step: whoever stops before it leaves the rest to the next.
    await engine.call('hdel', keys.dying, dying[i]!)
  }
  return false
}

/** How many windows were removed; less than `max` when none is left. */
async function clearWindows(
  engine: Engine,
  partition: number,
  metricId: Id64,
  resolutions: readonly number[],
  max: number,
  nowMs: number,
): Promise<number> {
  let removed = 0
  for (const resolutionMs of resolutions) {
    const timeline = engine.keys(partition).timeline({ metricId, resolutionMs })
    for (;;) {
      const members = texts(await engine.call('zrange', timeline, 0, ENTRIES_PER_READ - 1))
      if (members.length === 0) break
      for (const windowMs of new Set(members.map((member) => decodeIndexEntry(member).windowMs))) {
        if (removed >= max) return removed
        const window = { metricId, resolutionMs, windowMs }
        // Nothing is remembered of the stretch: nobody will ask for it.
        await expireWindow(engine, { partition, window, forget: [], nowMs }, Number.MAX_SAFE_INTEGER)
        removed++
      }
    }
  }
  return removed
}
