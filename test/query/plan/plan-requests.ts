import { GatewayError } from '../../../src/model/errors.ts'
import { type Interval, parseInterval } from '../../../src/model/interval.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../../src/model/time.ts'
import { timeZone } from '../../../src/model/zone-offsets.ts'
import type { Plan, PlanRequest, Timeline } from '../../../src/query/plan/plan.ts'
import type { Stretch } from '../../../src/store/windows.ts'

/** Requests of plans, and their parts by name. */

export const STEPS_MS = [10_000, MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, DAY_MS]
export const SET_STEPS_MS = [MINUTE_MS, HOUR_MS, DAY_MS]
export const NOON_MS = Date.UTC(2024, 0, 15, 12)

export function interval(text: string): Interval {
  const parsed = parseInterval(text)
  if (parsed === undefined) throw new Error(`${text} is no interval`)
  return parsed
}

export function zone(name: string) {
  const found = timeZone(name)
  if (found === undefined) throw new Error(`${name} is no zone`)
  return found
}

/** Nothing has expired, but for the stretches named by step. */
export function timelines(expired: Readonly<Record<number, readonly Stretch[]>> = {}, stepsMs = STEPS_MS): Timeline[] {
  return stepsMs.map((stepMs) => ({ resolutionMs: stepMs, expired: expired[stepMs] ?? [] }))
}

export function request(fields: Partial<PlanRequest> = {}): PlanRequest {
  return {
    fromMs: NOON_MS,
    toMs: NOON_MS + HOUR_MS - 1,
    interval: interval('auto'),
    zone: zone('UTC'),
    timelines: timelines(),
    bucketsMax: 50_000,
    retentionSetting: 'RESOLUTIONS',
    ...fields,
  }
}

/** Reads as `step×count` in order of time. */
export function readsOf(planned: Plan, stepsMs = STEPS_MS): string[] {
  return planned.reads.map(({ level, fromMs, toMs }) => {
    const stepMs = stepsMs[level]!
    return `${stepMs / 1_000}s×${(toMs - fromMs) / stepMs}`
  })
}

export function errorOf(action: () => unknown): GatewayError {
  try {
    action()
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
