/** What can be drawn: lines over time, and bars for what covers a whole range. */
export interface Chart {
  /** Where it stands in the answer, such as `requests`. */
  readonly title: string
  readonly unit: string | null
  /** Of its buckets, if the answer tells it. */
  readonly timezone: string | undefined
  readonly lines: readonly ChartLine[]
  readonly bars: readonly BarList[]
  /** Lines that have values but no times, so that they cannot be drawn. */
  readonly timelessLines: number
}

export interface ChartLine {
  readonly id: string
  readonly label: string
  /** UNIX milliseconds, ascending. */
  readonly timestamps: readonly number[]
  /** Null: a gap. */
  readonly values: readonly (number | null)[]
  /** Of the whole range; null when it is not known. */
  readonly total: number | null
  /** The `id` of the line that this one is compared with. It is drawn dashed in that line's colour. */
  readonly comparedWith: string | undefined
}

export interface BarList {
  /** The aggregation, such as `p95`. */
  readonly title: string
  readonly bars: readonly Bar[]
}

export interface Bar {
  readonly label: string
  readonly value: number | null
}

/** A picture with more lines tells nothing and takes long to draw. */
export const CHART_LINES_MAX = 60
export const CHART_BARS_MAX = 100
export const CHARTS_MAX = 20
