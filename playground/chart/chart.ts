/** The data of a chart: lines over time, and bars for totals over the whole range. */
export interface Chart {
  /** In GraphiQL, the path of the chart's data in the result, such as `requests`; in the explorer, the metric name. */
  readonly title: string
  readonly unit: string | null
  /** Time zone of the buckets, if the query selects it. */
  readonly timezone: string | undefined
  readonly lines: readonly ChartLine[]
  readonly bars: readonly BarList[]
  /** Number of lines that cannot be drawn because the query selects their values but no times. */
  readonly lineCountWithoutTimes: number
}

export interface ChartLine {
  readonly id: string
  readonly label: string
  /** Starts of the buckets in UNIX milliseconds, ascending. */
  readonly timestamps: readonly number[]
  /** One value per timestamp; null is a gap in the line. */
  readonly values: readonly (number | null)[]
  /** The aggregation over the whole range; null when it is unknown. */
  readonly total: number | null
  /**
   * For a line of the earlier range of `compare`: the `id` of the line of the requested range. The earlier line is
   * drawn dashed in that line's colour. Undefined for a line of the requested range.
   */
  readonly comparedWith: string | undefined
  /**
   * Whether the result says that this is the remainder of `top`: all other groups, merged. False if the query does not
   * select `tags`.
   */
  readonly isRemainder: boolean
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

/** Maximum number of lines drawn: more are unreadable and slow to draw. */
export const CHART_LINES_MAX = 60
export const CHART_BARS_MAX = 100
export const CHARTS_MAX = 20
