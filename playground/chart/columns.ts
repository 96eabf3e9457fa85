import type { ChartLine } from './chart.ts'

/** The columns that uPlot draws: all times, then the values of each line at those times. */
export type Columns = readonly [readonly number[], ...(readonly (number | null | undefined)[])[]]

/**
 * Aligns lines with different times to one time column. Null is a gap in a line. Undefined: the line has no bucket at
 * this time, so it is drawn straight to its next value.
 */
export function columnsOf(lines: readonly ChartLine[]): Columns {
  const times = [...new Set(lines.flatMap(({ timestamps }) => timestamps))].sort((a, b) => a - b)
  const rowOf = new Map(times.map((time, row) => [time, row]))
  const columns = lines.map(({ timestamps, values }) => {
    const column = new Array<number | null | undefined>(times.length).fill(undefined)
    for (const [index, time] of timestamps.entries()) column[rowOf.get(time)!] = values[index] ?? null
    return column
  })
  return [times, ...columns]
}

/**
 * Returns the rows of values that have a gap, or the end of the column, on both sides. No line segment reaches such a
 * value, so it is drawn as a dot.
 */
export function isolatedRows(column: readonly (number | null | undefined)[]): readonly number[] {
  const rows: number[] = []
  let valuesSinceGap = 0
  let lastValueRow = -1
  for (const [row, value] of column.entries()) {
    if (value === undefined) continue
    if (value !== null) {
      valuesSinceGap++
      lastValueRow = row
    } else {
      if (valuesSinceGap === 1) rows.push(lastValueRow)
      valuesSinceGap = 0
    }
  }
  if (valuesSinceGap === 1) rows.push(lastValueRow)
  return rows
}
