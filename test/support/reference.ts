/**
 * The meaning of every number, the slow way: keeps all points in the order they arrived and answers each bucket by
 * looking at all of them. Knows nothing of rollups, sketches, blocks or resolutions but the width of the base.
 */

export type Tags = Readonly<Record<string, string>>

export type PointInput =
  | { readonly mode: 'value'; readonly value: number }
  | { readonly mode: 'weighted'; readonly value: number; readonly weight: number }
  | { readonly mode: 'total'; readonly value: number }
  | { readonly mode: 'member'; readonly member: string }

export type Point = PointInput & {
  /** Values of absent tags are absent or empty. */
  readonly tags: Tags
  readonly timeMs: number
}

export interface ReferenceQuery {
  readonly fromMs: number
  /** Inclusive, as the client states it. */
  readonly toMs: number
  readonly baseMs: number
  readonly interval: Width
  readonly zone: string
  readonly nowMs: number
  readonly tags: ReadonlyMap<string, readonly string[]>
  readonly groupBy: readonly string[]
}

/** The width of an answered bucket: so many milliseconds since the epoch, or local days, weeks, months. */
export type Width = number | 'day' | 'week' | 'month'

export interface ReferenceBucket {
  readonly startMs: number
  readonly endMs: number
  /** Undefined: no point. */
  readonly values: ReferenceValues | undefined
}

export interface ReferenceValues {
  readonly count: number
  readonly sum: number
  readonly avg: number
  readonly min: number
  readonly max: number
  readonly first: number
  readonly last: number
  /** The same of running totals alone, all that a counter has a last value of. NaN: there are none. */
  readonly lastTotal: number
  readonly rate: number
  readonly distinct: number
  /** Between which an estimate of relative error `alpha` at each neighbouring rank must lie. */
  quantile(q: number, alpha: number): { readonly low: number; readonly high: number }
}

const SILENCE_MS = 7 * 86_400_000

/** What a running total adds, by the point that brings it. */
interface Increase {
  readonly point: Point
  readonly added: number
}

/** Groups by the JSON of their tag values; every group has every bucket of the range. */
export function referenceResult(
  points: readonly Point[],
  query: ReferenceQuery,
): ReadonlyMap<string, readonly ReferenceBucket[]> {
  const { baseMs, groupBy } = query
  const fromMs = Math.floor(query.fromMs / baseMs) * baseMs
  const toMs = Math.floor(query.toMs / baseMs) * baseMs + baseMs
  const buckets = bucketsOf(query.interval, query.zone, fromMs, toMs)
  const matching = points.filter((point) =>
    [...query.tags].every(([key, values]) => values.includes(point.tags[key] ?? '')),
  )
  const groups = new Map<string, Point[]>()
  if (groupBy.length === 0) groups.set('[]', [])
  for (const point of matching) {
    const key = JSON.stringify(groupBy.map((name) => point.tags[name] ?? ''))
    groups.set(key, [...(groups.get(key) ?? []), point])
  }
  const increases = increasesOf(matching)
  const resultByGroup = new Map<string, readonly ReferenceBucket[]>()
  for (const [key, ofGroup] of groups) {
    const inRange = ofGroup.filter(({ timeMs }) => timeMs >= fromMs && timeMs < toMs)
    if (groupBy.length > 0 && inRange.length === 0) continue
    resultByGroup.set(
      key,
      buckets.map(({ startMs, endMs }) => {
        const inBucket = inRange.filter(({ timeMs }) => timeMs >= startMs && timeMs < endMs)
        if (inBucket.length === 0) return { startMs, endMs, values: undefined }
        const cutFromMs = Math.max(startMs, fromMs)
        const cutToMs = Math.min(endMs, toMs)
        const lengthMs = cutFromMs > query.nowMs ? cutToMs - cutFromMs : Math.min(cutToMs, query.nowMs) - cutFromMs
        return { startMs, endMs, values: valuesOf(inBucket, increases, Math.max(lengthMs, baseMs) / 1_000) }
      }),
    )
  }
  return resultByGroup
}

function valuesOf(points: readonly Point[], increases: readonly Increase[], seconds: number): ReferenceValues {
  const count = total(points.map(weightOf))
  const totals = points.filter(({ mode }) => mode === 'total')
  const rising = totals.flatMap((point) => increases.filter((increase) => increase.point === point))
  const sum =
    total(points.filter(({ mode }) => mode !== 'total').map((point) => numberOf(point) * weightOf(point))) +
    total(rising.map(({ added }) => added))
  const values = points.map(numberOf)
  return {
    count,
    sum,
    avg: sum / count,
    min: Math.min(...values),
    max: Math.max(...values),
    first: firstOf(points),
    last: lastOf(points),
    lastTotal: lastOf(totals),
    rate: sum / seconds,
    distinct: new Set(points.map((point) => (point.mode === 'member' ? point.member : ''))).size,
    quantile: (q, alpha) => {
      const sorted = [...points].sort((a, b) => numberOf(a) - numberOf(b))
      const rank = q * (count - 1)
      const below = valueAt(sorted, Math.floor(rank))
      const above = valueAt(sorted, Math.min(count - 1, Math.floor(rank) + 1))
      const between = (a: number, b: number): number => a + (b - a) * (rank - Math.floor(rank))
      if (q === 0 || q === 1) return { low: below, high: below }
      return {
        low: between(below - alpha * Math.abs(below), above - alpha * Math.abs(above)),
        high: between(below + alpha * Math.abs(below), above + alpha * Math.abs(above)),
      }
    },
  }
}

function numberOf(point: Point): number {
  return point.mode === 'member' ? 0 : point.value
}

function weightOf(point: Point): number {
  return point.mode === 'weighted' ? point.weight : 1
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}

/** The value at a rank when each point stands as often as it weighs. */
function valueAt(sorted: readonly Point[], rank: number): number {
  let seen = 0
  for (const point of sorted) {
    seen += weightOf(point)
    if (seen > rank) return numberOf(point)
  }
  return Number.NaN
}

function seriesOf({ tags }: Point): string {
  return JSON.stringify(
    Object.entries(tags)
      .filter(([, value]) => value !== '')
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}

function bySeries(points: readonly Point[]): readonly (readonly Point[])[] {
  const series = new Map<string, Point[]>()
  for (const point of points) series.set(seriesOf(point), [...(series.get(seriesOf(point)) ?? []), point])
  return [...series.values()]
}

/** Latest time; of one series the later arrival, of several the greater value. NaN: no points. */
function lastOf(points: readonly Point[]): number {
  const lastMs = Math.max(...points.map(({ timeMs }) => timeMs))
  const ends = bySeries(points.filter(({ timeMs }) => timeMs === lastMs)).map((same) =>
    numberOf(same[same.length - 1]!),
  )
  return ends.length === 0 ? Number.NaN : Math.max(...ends)
}

/** Earliest time; of one series the earlier arrival, of several the smaller value. */
function firstOf(points: readonly Point[]): number {
  const firstMs = Math.min(...points.map(({ timeMs }) => timeMs))
  const ends = bySeries(points.filter(({ timeMs }) => timeMs === firstMs)).map((same) => numberOf(same[0]!))
  return ends.length === 0 ? Number.NaN : Math.min(...ends)
}

function increasesOf(points: readonly Point[]): readonly Increase[] {
  const increases: Increase[] = []
  for (const series of bySeries(points.filter(({ mode }) => mode === 'total'))) {
    // Of equal times the later arrival stands.
    const byTime = [...new Map(series.map((point) => [point.timeMs, point])).values()].sort(
      (a, b) => a.timeMs - b.timeMs,
    )
    for (const [i, point] of byTime.entries()) {
      const previous = byTime[i - 1]
      if (previous === undefined || point.timeMs - previous.timeMs > SILENCE_MS) continue
      const difference = numberOf(point) - numberOf(previous)
      increases.push({ point, added: difference >= 0 ? difference : Math.max(0, numberOf(point)) })
    }
  }
  return increases
}

const QUARTER_MS = 900_000

const days = new Map<string, Map<number, string>>()
const dateFormats = new Map<string, Intl.DateTimeFormat>()

function dateFormat(zone: string): Intl.DateTimeFormat {
  let format = dateFormats.get(zone)
  if (format === undefined) {
    format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short' })
    dateFormats.set(zone, format)
  }
  return format
}

/** The local date, remembered: asking Intl is slow. */
function dayAt(zone: string, timeMs: number): string {
  let ofZone = days.get(zone)
  if (ofZone === undefined) days.set(zone, (ofZone = new Map()))
  let day = ofZone.get(timeMs)
  if (day === undefined) {
    day = dateFormat(zone).format(timeMs)
    ofZone.set(timeMs, day)
  }
  return day
}

/** Buckets that touch [fromMs, toMs): by multiples of a width, or by reading a calendar every quarter of an hour. */
export function bucketsOf(
  width: Width,
  zone: string,
  fromMs: number,
  toMs: number,
): { readonly startMs: number; readonly endMs: number }[] {
  const buckets: { startMs: number; endMs: number }[] = []
  if (typeof width === 'number') {
    for (let startMs = Math.floor(fromMs / width) * width; startMs < toMs; startMs += width) {
      buckets.push({ startMs, endMs: startMs + width })
    }
    return buckets
  }
  const labelAt = (timeMs: number): string => {
    const day = dayAt(zone, timeMs)
    if (width === 'day') return day
    if (width === 'month') return day.slice(0, 7)
    const days = Math.round(Date.parse(`${day}T00:00:00Z`) / 86_400_000)
    return String(Math.floor((days + 3) / 7))
  }
  const marginMs = (width === 'day' ? 2 : width === 'week' ? 9 : 33) * 86_400_000
  let startMs = Math.floor((fromMs - marginMs) / QUARTER_MS) * QUARTER_MS
  let label = labelAt(startMs)
  for (let timeMs = startMs; startMs < toMs; timeMs += QUARTER_MS) {
    const next = labelAt(timeMs)
    if (next === label) continue
    if (timeMs > fromMs) buckets.push({ startMs, endMs: timeMs })
    startMs = timeMs
    label = next
  }
  return buckets
}
