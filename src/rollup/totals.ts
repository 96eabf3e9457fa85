/**
 * The running totals of a cumulative counter within one bucket: at most 16 points, sorted by time. The increase is
 * computed from the points, so that the points of several gateways, and late points, can be merged in any arrival
 * order.
 *
 * A list of up to 16 points has all points, and its increase is exact. A longer list, and any list in a coarser
 * resolution, is thinned: of each non-decreasing stretch only the first and the last point stay, because the points
 * between them do not change the increase.
 *
 * After thinning, a late point whose value is between those of its neighbours leaves the increase exact. A late point
 * with another value shows a reset that the list does not contain. The dropped points would have increased the result,
 * so the list is marked inexact. A reset between two points of a stretch cannot be detected if the counter then rises
 * above its earlier value before the second point. More than 8 resets in a bucket are collapsed into a sum. The
 * computed increase is never greater than the increase of all points.
 */

export const TOTALS_MAX = 16

/** Returns the increase between two running totals. A decrease is a reset, after which the counter starts at 0. */
export function increaseBetween(previousValue: number, value: number): number {
  return value >= previousValue ? value - previousValue : Math.max(0, value)
}

export class Totals {
  timeMs: number[] = []
  value: number[] = []
  /** The sum of the increases of points that were dropped to limit the length of the list. */
  collapsed = 0
  /** Whether the computed increase may be less than that of all points, or is partly known only as a sum. */
  inexact = false
  /** Whether points inside a run without a decrease were dropped. A late point may then make the increase inexact. */
  thinned = false

  /** Returns the list of points [start, end) of columns that are sorted by time. */
  static of(
    timeMs: Float64Array,
    value: Float64Array,
    start: number,
    end: number,
    collapsed: number,
    inexact: boolean,
    thinned: boolean,
  ): Totals {
    const totals = new Totals()
    if (end - start === 1) {
      totals.timeMs = [timeMs[start]!]
      totals.value = [value[start]!]
    } else if (end - start > 1) {
      totals.timeMs = [timeMs[start]!, timeMs[start + 1]!]
      totals.value = [value[start]!, value[start + 1]!]
      for (let i = start + 2; i < end; i++) {
        totals.timeMs.push(timeMs[i]!)
        totals.value.push(value[i]!)
      }
    }
    totals.collapsed = collapsed
    totals.inexact = inexact
    totals.thinned = thinned
    return totals
  }

  get length(): number {
    return this.timeMs.length
  }

  /** Adds a point. If there is a point with the same time, the new point replaces it. */
  add(timeMs: number, value: number): void {
    const times = this.timeMs
    const values = this.value
    const length = times.length
    if (length === 0 || timeMs > times[length - 1]!) {
      if (length === 0) {
        // An array literal has no spare capacity, while `push` allocates 17 elements; most lists have one or two.
        this.timeMs = [timeMs]
        this.value = [value]
      } else if (length === 1) {
        this.timeMs = [times[0]!, timeMs]
        this.value = [values[0]!, value]
      } else {
        times.push(timeMs)
        values.push(value)
        if (times.length > TOTALS_MAX) this.#bound()
      }
    } else {
      let position = length - 1
      while (position > 0 && times[position - 1]! >= timeMs) position--
      if (times[position] === timeMs) {
        if (this.thinned && values[position] !== value) this.inexact = true
        values[position] = value
      } else {
        if (this.thinned && isReset(values[position - 1], value, values[position])) this.inexact = true
        times.splice(position, 0, timeMs)
        values.splice(position, 0, value)
        if (times.length > TOTALS_MAX) this.#bound()
      }
    }
  }

  merge(later: Totals): void {
    // The usual case: all later points are after the points of this list, or there is a single point to add.
    const length = this.timeMs.length
    if (later.timeMs.length === 1 || length === 0 || this.timeMs[length - 1]! < later.timeMs[0]!) {
      for (let i = 0; i < later.timeMs.length; i++) this.add(later.timeMs[i]!, later.value[i]!)
      this.#inherit(later)
      return
    }
    const times = this.timeMs.splice(0)
    const values = this.value.splice(0)
    let i = 0
    let j = 0
    while (i < times.length || j < later.timeMs.length) {
      const ownMs = i < times.length ? times[i]! : Number.POSITIVE_INFINITY
      const laterMs = j < later.timeMs.length ? later.timeMs[j]! : Number.POSITIVE_INFINITY
      if (ownMs < laterMs) {
        if (later.thinned && isReset(later.value[j - 1], values[i]!, later.value[j])) this.inexact = true
        this.timeMs.push(ownMs)
        this.value.push(values[i++]!)
      } else {
        if (ownMs !== laterMs) {
          if (this.thinned && isReset(values[i - 1], later.value[j]!, values[i])) this.inexact = true
        } else if (values[i++] !== later.value[j] && (this.thinned || later.thinned)) this.inexact = true
        this.timeMs.push(laterMs)
        this.value.push(later.value[j++]!)
      }
    }
    this.#inherit(later)
    if (this.timeMs.length > TOTALS_MAX) this.#bound()
  }

  /**
   * Returns the increase from the first point of this list to the last. The caller adds the increase from the previous
   * bucket to the first point.
   */
  increase(): number {
    let increase = this.collapsed
    for (let i = 1; i < this.value.length; i++) increase += increaseBetween(this.value[i - 1]!, this.value[i]!)
    return increase
  }

  /** Drops the points inside non-decreasing stretches. */
  thin(): void {
    const { timeMs, value } = this
    const length = value.length
    let kept = 0
    for (let i = 0; i < length; i++) {
      const inner = kept > 0 && i + 1 < length && value[kept - 1]! <= value[i]! && value[i]! <= value[i + 1]!
      if (inner) continue
      timeMs[kept] = timeMs[i]!
      value[kept++] = value[i]!
    }
    if (kept === length) return
    timeMs.length = kept
    value.length = kept
    this.thinned = true
  }

  #inherit({ collapsed, inexact, thinned }: Totals): void {
    this.collapsed += collapsed
    this.inexact ||= inexact
    this.thinned ||= thinned
  }

  /**
   * Thins the list. While it is still too long, removes the peak and the trough that contribute least to the increase,
   * and adds the difference to `collapsed`. The first and the last point always stay.
   */
  #bound(): void {
    this.thin()
    const { timeMs, value } = this
    while (value.length > TOTALS_MAX) {
      let best = 1
      let bestLoss = Number.POSITIVE_INFINITY
      for (let i = 1; i + 2 < value.length; i++) {
        if (value[i]! <= value[i + 1]!) continue
        const loss =
          increaseBetween(value[i - 1]!, value[i]!) +
          increaseBetween(value[i]!, value[i + 1]!) +
          increaseBetween(value[i + 1]!, value[i + 2]!) -
          increaseBetween(value[i - 1]!, value[i + 2]!)
        if (loss < bestLoss) {
          best = i
          bestLoss = loss
        }
      }
      timeMs.splice(best, 2)
      value.splice(best, 2)
      this.collapsed += bestLoss
      this.inexact = true
      this.thin()
    }
  }
}

/** Whether a value between two points of a non-decreasing stretch shows a reset. */
function isReset(before: number | undefined, value: number, after: number | undefined): boolean {
  return before !== undefined && after !== undefined && before <= after && (value < before || value > after)
}
