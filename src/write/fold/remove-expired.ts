import { Pacer } from '../../model/pacer.ts'
import type { Store } from '../../store/store.ts'
import type { FoldSettings } from './fold.ts'

/**
 * Maximum number of windows that one step expires. A step for deleted metrics removes about as many windows or rows.
 */
const WINDOWS_PER_STEP_MAX = 200
/** Maximum number of events that one step removes, and of such steps in one call. */
const EVENTS_PER_STEP_MAX = 1_000
const EVENT_STEPS_MAX = 200
/** Maximum number of steps that remove the data of deleted metrics in one call. */
const DELETION_STEPS_MAX = 50

/**
 * Expires windows that are due, at most `WINDOWS_PER_STEP_MAX`. The time range of an expired window is recorded as an
 * expired stretch, so that a late point cannot make the window look complete again. When a window of the coarsest
 * resolution expires, no resolution has data of its time range any more. So this window is not recorded, and the
 * records of finer resolutions for this range are removed. Returns the number of windows that expired.
 */
export async function expireDueWindows(
  store: Store,
  partition: number,
  settings: FoldSettings,
  nowMs: number,
): Promise<number> {
  const bucketWidthsMs = [
    ...new Set([...settings.resolutions, ...settings.setResolutions].map(({ bucketWidthMs }) => bucketWidthMs)),
  ].sort((a, b) => a - b)
  const coarsestMs = bucketWidthsMs[bucketWidthsMs.length - 1]!
  const dueWindows = await store.dueWindows(partition, nowMs, WINDOWS_PER_STEP_MAX)
  let expired = 0
  const pacer = new Pacer()
  for (const window of dueWindows) {
    await pacer.pause()
    const expiryOptions =
      window.resolutionMs === coarsestMs ? { dropExpiredAtResolutions: bucketWidthsMs.slice(0, -1) } : {}
    if (await store.expireWindow({ partition, window, ...expiryOptions, nowMs })) expired++
  }
  return expired
}

/**
 * Removes events committed at or before `committedByMs`, in at most `EVENT_STEPS_MAX` steps. Stops early when
 * `mustStop()` returns true. A later call continues.
 */
export async function expireEvents(
  store: Store,
  partition: number,
  committedByMs: number,
  mustStop: () => boolean,
): Promise<void> {
  for (let steps = 0; steps < EVENT_STEPS_MAX && !mustStop(); steps++) {
    if ((await store.expireEvents(partition, committedByMs, EVENTS_PER_STEP_MAX)) < EVENTS_PER_STEP_MAX) return
  }
}

/**
 * Removes data of deleted metrics, in at most `DELETION_STEPS_MAX` steps. Stops early when `mustStop()` returns true. A
 * later call continues.
 */
export async function clearDeletedMetrics(
  store: Store,
  partition: number,
  nowMs: number,
  mustStop: () => boolean,
): Promise<void> {
  const pacer = new Pacer()
  for (let steps = 0; steps < DELETION_STEPS_MAX && !mustStop(); steps++) {
    await pacer.pause()
    if (!(await store.clearDeleted(partition, WINDOWS_PER_STEP_MAX, nowMs))) return
  }
}
