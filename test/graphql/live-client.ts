/** A client of live queries as the schema tells to be one: lines by their id, values by the start of their bucket. */

export interface LiveSeries {
  readonly id: string
  readonly timestamps: readonly number[]
  readonly values: readonly (number | null)[]
}

export interface Live {
  readonly kind: 'SNAPSHOT' | 'PATCH'
  readonly dropBefore: string | null
  readonly series: readonly LiveSeries[]
}

export type Chart = Readonly<Record<string, Readonly<Record<string, number | null>>>>

export const LIVE_FIELDS = 'kind dropBefore series { id timestamps values }'

export function chartOf(series: readonly LiveSeries[]): Chart {
  return Object.fromEntries(
    series.map(({ id, timestamps, values }) => [
      id,
      Object.fromEntries(timestamps.map((at, row) => [at, values[row]!])),
    ]),
  )
}

export function applyLive(chart: Chart, { kind, dropBefore, series }: Live): Chart {
  if (kind === 'SNAPSHOT') return chartOf(series)
  const fromMs = dropBefore === null ? Number.NEGATIVE_INFINITY : Date.parse(dropBefore)
  const merged: Record<string, Record<string, number | null>> = {}
  for (const [id, line] of [...Object.entries(chart), ...Object.entries(chartOf(series))]) {
    const kept = Object.entries({ ...merged[id], ...line }).filter(([at]) => Number(at) >= fromMs)
    if (kept.length > 0) merged[id] = Object.fromEntries(kept)
  }
  return merged
}
