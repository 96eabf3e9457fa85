import { type ErrorCode, quote, shorten } from './errors.ts'
import type { ItemCache } from './item-cache.ts'
import type { MetricType, RollupKind, TrackedType } from './metric.ts'
import { isTrackedType, TRACKED_TYPES } from './metric.ts'
import type { Steps } from './steps.ts'
import { isLongerThan } from './text.ts'

/**
 * Validates the fields of points for all protocols, so that a bad value has the same error code in each. Also defines
 * {@link PointSink}, through which decoders pass points to the write path.
 */

/** Limits of a point. Characters are counted in Unicode code points. */
export interface PointLimits {
  readonly nameCharsMax: number
  readonly tagKeyCharsMax: number
  readonly tagValueCharsMax: number
  readonly tagsMax: number
}

/** Maximum characters of a set member: enough for an id or a URL. */
export const SET_MEMBER_CHARS_MAX = 1_024

/** The reason why an item of a request is not stored. */
export interface Rejection {
  readonly code: ErrorCode
  readonly message: string
}

export function reject(code: ErrorCode, message: string): Rejection {
  return { code, message }
}

/** The message for a text of too many characters. Does not count them: that takes too long for a very long text. */
export function tooLongMessage(what: string, charsMax: number): string {
  return `${what} has more than ${charsMax} characters`
}

export function checkName(name: unknown, limits: PointLimits): Rejection | undefined {
  if (name === undefined || name === null || name === '') return reject('missing_name', 'name is required')
  if (typeof name !== 'string') return reject('missing_name', `name must be a string, not ${describeValue(name)}`)
  if (isLongerThan(name, limits.nameCharsMax))
    return reject('missing_name', tooLongMessage('name', limits.nameCharsMax))
  // Different ill-formed strings would become equal when encoded as UTF-8.
  if (!name.isWellFormed()) return reject('missing_name', 'name is not well-formed Unicode')
  return undefined
}

export function checkType(type: unknown): Rejection | undefined {
  if (isTrackedType(type)) return undefined
  return reject('invalid_type', `type must be one of ${TRACKED_TYPES.join(', ')}, not ${describeValue(type)}`)
}

export function checkValue(type: TrackedType, value: unknown): Rejection | undefined {
  if (type === 'set') {
    if (typeof value !== 'string')
      return reject('invalid_value', `value of a set must be a string, not ${describeValue(value)}`)
    if (isLongerThan(value, SET_MEMBER_CHARS_MAX))
      return reject('invalid_value', tooLongMessage('value', SET_MEMBER_CHARS_MAX))
    // Different ill-formed strings would become equal when encoded as UTF-8.
    if (!value.isWellFormed()) return reject('invalid_value', 'value is not well-formed Unicode')
    return undefined
  }
  if (finiteNumber(value) !== undefined) return undefined
  return reject('invalid_value', `value of a ${type} must be a finite number, not ${describeValue(value)}`)
}

/**
 * Returns the tags of an item as pairs of key and value, in any order. If they are invalid, returns the reason. Tags
 * with the value null are omitted. `arrayValues` decides whether a tag value that is an array is rejected, or joined
 * with commas. Reads at most one tag more than allowed.
 */
export function readTags(
  tags: unknown,
  limits: PointLimits,
  arrayValues: 'reject' | 'join' = 'reject',
): [string, string][] | Rejection {
  if (tags === undefined || tags === null) return []
  // MessagePack has byte strings: each of their bytes would be a tag.
  if (typeof tags !== 'object' || Array.isArray(tags) || ArrayBuffer.isView(tags)) {
    return reject('invalid_tags', `tags must be an object of strings, not ${describeValue(tags)}`)
  }
  const pairs: [string, string][] = []
  // `Object.entries` would create an array for each tag.
  for (const key in tags) {
    const value = (tags as Readonly<Record<string, unknown>>)[key]
    if (value === null || value === undefined) continue
    const isJoined = arrayValues === 'join' && Array.isArray(value)
    const text = isJoined ? joinedText(value, limits.tagValueCharsMax) : scalarText(value)
    if (text === undefined) {
      return reject(
        'invalid_tags',
        `tag ${quote(key)} must be a string, number or boolean, not ${describeValue(value)}`,
      )
    }
    pairs.push([key, text])
    if (pairs.length > limits.tagsMax) break
  }
  return checkTags(pairs, limits) ?? pairs
}

/** Returns why tags are invalid; undefined if they are valid. */
export function checkTags(
  pairs: readonly (readonly [key: string, value: string])[],
  limits: PointLimits,
): Rejection | undefined {
  // The message has no count, because `readTags` does not read all tags.
  if (pairs.length > limits.tagsMax) return reject('invalid_tags', `there are more than ${limits.tagsMax} tags`)
  for (const [key, text] of pairs) {
    if (key === '' || isLongerThan(key, limits.tagKeyCharsMax)) {
      return reject('invalid_tags', `tag key ${quote(key)} must have 1 to ${limits.tagKeyCharsMax} characters`)
    }
    if (isLongerThan(text, limits.tagValueCharsMax))
      return reject('invalid_tags', tooLongMessage(`value of tag ${quote(key)}`, limits.tagValueCharsMax))
    if (!key.isWellFormed() || !text.isWellFormed())
      return reject('invalid_tags', `tag ${quote(key)} is not well-formed Unicode`)
  }
  return undefined
}

/**
 * Joins the texts of the values of an array. Null values are omitted. Returns undefined if a value has no text. Stops
 * when the text has certainly more than `charsMax` characters.
 */
function joinedText(values: readonly unknown[], charsMax: number): string | undefined {
  let joined: string | undefined
  for (const value of values) {
    if (value === null || value === undefined) continue
    const text = scalarText(value)
    if (text === undefined) return undefined
    joined = joined === undefined ? text : `${joined},${text}`
    // A character has one or two code units.
    if (joined.length > 2 * charsMax) break
  }
  return joined ?? ''
}

/**
 * Converts a string, boolean or number to text, for tag values. Bigints keep all digits. Other numbers are written in
 * their shortest form: `1.50` becomes `1.5`, `-0` becomes `0`. Returns undefined for NaN, infinities and all other
 * values.
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

/** Converts a finite number to text like {@link scalarText}. Returns undefined for all other values. */
export function numberText(value: unknown): string | undefined {
  if (typeof value === 'bigint') return value.toString()
  return typeof value === 'number' && Number.isFinite(value) ? String(value) : undefined
}

/**
 * Returns a number or bigint as a finite double; undefined for all other values. Decoders return large integers as
 * bigints.
 */
export function finiteNumber(value: unknown): number | undefined {
  const number = typeof value === 'bigint' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined
}

/** Describes a bad value in a few words, for an error message. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'absent'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (ArrayBuffer.isView(value)) return 'bytes'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string') return quote(value)
  return shorten(String(value))
}

/** A series as decoders see it: `PointSink.resolve` returns it, and the decoder passes it to the add methods. */
export interface SeriesRef {
  readonly kind: RollupKind
}

/** Optional unit and description of a metric. They are stored when the metric is created; later ones are ignored. */
export interface MetricMetadata {
  readonly unit?: string
  readonly description?: string
}

/**
 * Receives points from a decoder, with one call per point, so that no object is created per point. `resolve` returns
 * the series of an item, or the reason why the item is rejected. The add methods add a point to a series; `index` is
 * the item's position in the request. Points of one series with the same time must be added in the order of the items.
 */
export interface PointSink<S extends SeriesRef = SeriesRef> {
  /** `pairs` are the tags of the item. They are already validated; their order does not matter. */
  resolve(
    name: string,
    type: MetricType,
    pairs: readonly (readonly [string, string])[],
    metadata?: MetricMetadata,
  ): S | Rejection
  add(index: number, series: S, timeMs: number, value: number): void
  addWeighted(index: number, series: S, timeMs: number, value: number, weight: number): void
  addTotal(index: number, series: S, timeMs: number, total: number): void
  /**
   * Adds a running total of a counter that started from 0 at `startMs`, which is before `timeMs`. The first total after
   * a start counts in full: no earlier total is subtracted from it. Exception: the start is more than 7 days before
   * `timeMs`.
   */
  addTotalSince(index: number, series: S, timeMs: number, total: number, startMs: number): void
  addMember(index: number, series: S, timeMs: number, member: string): void
  /**
   * Adds an end marker: from this time on, the series of a gauge has no last value, until its next value. An end marker
   * does not count as a point.
   */
  addEnd(index: number, series: S, timeMs: number): void
  reject(index: number, rejection: Rejection): void
  /** Finds the series of an item by the item's bytes. All decoders of a project share this cache. */
  readonly itemCache: ItemCache<S>
  /**
   * Whether points can still be added to a series from `itemCache`. If not, the decoder must call `resolve` for the
   * item.
   */
  canAddTo(series: S): boolean
  /** Whether the decoder may add the series to `itemCache`. False until its metric is known to exist in the store. */
  mayCache(series: S): boolean
  /** Drops all points and rejections so far. The decoder then begins again with the first item. */
  restart(): void
}

/**
 * Decodes a request and passes its points to the sink: before it returns or, if the body may be large, in the steps
 * that it returns.
 */
export type Decode = (sink: PointSink) => Steps<void> | void
