import { type ErrorCode, quote, shorten } from './errors.ts'
import type { ItemCache } from './item-cache.ts'
import type { MetricType, RollupKind, TrackedType } from './metric.ts'
import { isTrackedType, TRACKED_TYPES } from './metric.ts'
import type { Steps } from './steps.ts'
import { countChars, isLongerThan } from './text.ts'

/**
 * Validates points for REST and GraphQL, so that the same bad value has the same error code in both. Also defines
 * {@link PointSink}, the contract between decoders and the write path.
 */
export interface PointLimits {
  /** In all limits, characters are Unicode code points. */
  readonly nameCharsMax: number
  readonly tagKeyCharsMax: number
  readonly tagValueCharsMax: number
  readonly tagsMax: number
}

/** Maximum characters of a set member: enough for an id or a URL. */
export const SET_MEMBER_CHARS_MAX = 1_024
/** How far a point may lie ahead of the gateway's clock. A day, so that a client with a wrong time zone is accepted. */
const AHEAD_MS_MAX = 24 * 3_600_000

/** Why an item cannot be stored. */
export interface Rejection {
  readonly code: ErrorCode
  readonly message: string
}

export function reject(code: ErrorCode, message: string): Rejection {
  return { code, message }
}

export function checkName(name: unknown, limits: PointLimits): Rejection | undefined {
  if (name === undefined || name === null || name === '') return reject('missing_name', 'name is required')
  if (typeof name !== 'string') return reject('missing_name', `name must be a string, not ${describe(name)}`)
  if (isLongerThan(name, limits.nameCharsMax)) {
    return reject('missing_name', `name has ${countChars(name)} characters, at most ${limits.nameCharsMax} are allowed`)
  }
  // Different ill-formed strings would become equal when encoded as UTF-8.
  if (!name.isWellFormed()) return reject('missing_name', 'name is not well-formed Unicode')
  return undefined
}

export function checkType(type: unknown): Rejection | undefined {
  if (isTrackedType(type)) return undefined
  return reject('invalid_type', `type must be one of ${TRACKED_TYPES.join(', ')}, not ${describe(type)}`)
}

export function checkValue(type: TrackedType, value: unknown): Rejection | undefined {
  if (type === 'set') {
    if (typeof value !== 'string')
      return reject('invalid_value', `value of a set must be a string, not ${describe(value)}`)
    if (isLongerThan(value, SET_MEMBER_CHARS_MAX)) {
      return reject(
        'invalid_value',
        `value has ${countChars(value)} characters, at most ${SET_MEMBER_CHARS_MAX} are allowed`,
      )
    }
    // Different ill-formed strings would become equal when encoded as UTF-8.
    if (!value.isWellFormed()) return reject('invalid_value', 'value is not well-formed Unicode')
    return undefined
  }
  if (finiteNumber(value) !== undefined) return undefined
  return reject('invalid_value', `value of a ${type} must be a finite number, not ${describe(value)}`)
}

export function checkInstant(timeMs: number | undefined, nowMs: number): Rejection | undefined {
  if (timeMs === undefined) return reject('invalid_timestamp', 'timestamp must be an RFC 3339 date-time or a UNIX time')
  if (timeMs > nowMs + AHEAD_MS_MAX) {
    return reject('invalid_timestamp', `timestamp lies more than ${AHEAD_MS_MAX / 3_600_000} h ahead`)
  }
  return undefined
}

/**
 * Returns the tags of an item as pairs in their order, or the reason why they are invalid. `lists` decides how an array
 * as tag value is treated.
 */
export function readTags(
  tags: unknown,
  limits: PointLimits,
  lists: 'refuse' | 'join' = 'refuse',
): [string, string][] | Rejection {
  if (tags === undefined || tags === null) return []
  if (typeof tags !== 'object' || Array.isArray(tags)) {
    return reject('invalid_tags', `tags must be an object of strings, not ${describe(tags)}`)
  }
  const pairs: [string, string][] = []
  for (const [key, value] of Object.entries(tags)) {
    if (value === null || value === undefined) continue
    const text = lists === 'join' && Array.isArray(value) ? joined(value) : scalarText(value)
    if (text === undefined) {
      return reject('invalid_tags', `tag ${quote(key)} must be a string, number or boolean, not ${describe(value)}`)
    }
    pairs.push([key, text])
  }
  return checkTags(pairs, limits) ?? pairs
}

/** Why these tags are invalid, for decoders that have them as pairs. */
export function checkTags(
  pairs: readonly (readonly [key: string, value: string])[],
  limits: PointLimits,
): Rejection | undefined {
  for (const [key, text] of pairs) {
    if (key === '' || isLongerThan(key, limits.tagKeyCharsMax)) {
      return reject('invalid_tags', `tag key ${quote(key)} must have 1 to ${limits.tagKeyCharsMax} characters`)
    }
    if (isLongerThan(text, limits.tagValueCharsMax)) {
      return reject(
        'invalid_tags',
        `value of tag ${quote(key)} has ${countChars(text)} characters, at most ${limits.tagValueCharsMax} are allowed`,
      )
    }
    if (!key.isWellFormed() || !text.isWellFormed())
      return reject('invalid_tags', `tag ${quote(key)} is not well-formed Unicode`)
  }
  if (pairs.length <= limits.tagsMax) return undefined
  return reject('invalid_tags', `${pairs.length} tags, at most ${limits.tagsMax} are allowed`)
}

function joined(values: readonly unknown[]): string | undefined {
  const texts: string[] = []
  for (const value of values) {
    if (value === null || value === undefined) continue
    const text = scalarText(value)
    if (text === undefined) return undefined
    texts.push(text)
  }
  return texts.join(',')
}

/**
 * The text of a string, boolean or number, for tag values and user ids. A bigint keeps all digits. Any other number has
 * the shortest form of its double: `1.50` becomes `1.5`, `-0` becomes `0`. Undefined for other values.
 */
export function scalarText(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return value
    case 'boolean':
      return String(value)
    default:
      return numberText(value)
  }
}

/** Like {@link scalarText}, but undefined for strings and booleans too. */
export function numberText(value: unknown): string | undefined {
  if (typeof value === 'bigint') return value.toString()
  return typeof value === 'number' && Number.isFinite(value) ? String(value) : undefined
}

/** The value as a finite number, or undefined. Integers beyond 2^53 arrive as bigints. */
export function finiteNumber(value: unknown): number | undefined {
  const number = typeof value === 'bigint' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined
}

/** A short description of a bad value for an error message. */
export function describe(value: unknown): string {
  if (value === undefined) return 'absent'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string') return quote(value)
  return shorten(String(value))
}

/** A known series of the write path. A decoder passes it to the add methods of {@link PointSink}. */
export interface SeriesRef {
  readonly kind: RollupKind
}

/** Optional unit and description of a metric. Stored when the item defines the metric, ignored later. */
export interface MetricMetadata {
  readonly unit?: string
  readonly description?: string
}

/**
 * Receives points from a decoder, with one call and no object per point. `resolve` returns the series of an item, or
 * the reason for its rejection. The add methods add a point to a series. The decoder makes all calls in the order of
 * the items.
 */
export interface PointSink<S extends SeriesRef = SeriesRef> {
  /** `pairs` are validated tags, in any order. */
  resolve(
    name: string,
    type: MetricType,
    pairs: readonly (readonly [string, string])[],
    about?: MetricMetadata,
  ): S | Rejection
  add(index: number, series: S, timeMs: number, value: number): void
  addWeighted(index: number, series: S, timeMs: number, value: number, weight: number): void
  addTotal(index: number, series: S, timeMs: number, total: number): void
  /** A running total that was 0 at `startMs`, which is before `timeMs`: the first total since a start counts whole. */
  addTotalSince(index: number, series: S, timeMs: number, total: number, startMs: number): void
  addMember(index: number, series: S, timeMs: number, member: string): void
  reject(index: number, rejection: Rejection): void
  /** Caches series by the bytes of their items. All decoders of a project share it. */
  readonly itemCache: ItemCache<S>
  /** Whether points can still be added to a series of `itemCache`. If false, the item must be resolved again. */
  reuse(series: S): boolean
  /** Whether `itemCache` may cache the series. False until its metric exists, so that refused names take no memory. */
  mayCache(series: S): boolean
  /** Drops all points and rejections so far. The decoder then starts again from the first item. */
  restart(): void
}

/** Decodes a request and passes its points to the sink. A decoder of large bodies returns its work in steps. */
export type Decode = (sink: PointSink) => Steps<void> | void
