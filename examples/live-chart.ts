/**
 * What a client makes of a live query: chart lines by their id, values by the start of their bucket in UNIX
 * milliseconds. A SNAPSHOT replaces everything; a PATCH puts its buckets in the place of those with the same start, and
 * what lies before `dropBefore` has left the chart.
 */

export interface ChartLine {
  readonly id: string
  readonly timestamps: readonly number[]
  readonly values: readonly (number | null)[]
}

export interface LiveUpdate {
  readonly kind: 'SNAPSHOT' | 'PATCH'
  readonly dropBefore: string | null
  readonly series: readonly ChartLine[]
}

export type Chart = Readonly<Record<string, Readonly<Record<string, number | null>>>>

/** The fields that `applyLive` needs. */
export const LIVE_FIELDS = 'kind dropBefore series { id timestamps values }'

export function chartOf(lines: readonly ChartLine[]): Chart {
  return Object.fromEntries(
    lines.map(({ id, timestamps, values }) => [
      id,
      Object.fromEntries(timestamps.map((at, row) => [at, values[row] ?? null])),
    ]),
  )
}

export function applyLive(chart: Chart, { kind, dropBefore, series }: LiveUpdate): Chart {
  if (kind === 'SNAPSHOT') return chartOf(series)
  const fromMs = dropBefore === null ? Number.NEGATIVE_INFINITY : Date.parse(dropBefore)
  const merged: Record<string, Record<string, number | null>> = {}
  for (const [id, line] of [...Object.entries(chart), ...Object.entries(chartOf(series))]) {
    const kept = Object.entries({ ...merged[id], ...line }).filter(([at]) => Number(at) >= fromMs)
    if (kept.length > 0) merged[id] = Object.fromEntries(kept)
  }
  return merged
}
