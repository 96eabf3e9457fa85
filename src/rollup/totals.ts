/**
 * The running totals of a cumulative counter within one bucket: at most 16 points sorted by time. The increase is
 * computed from the points, so lists of several gateways, and late points, can be merged in any order of arrival.
 *
 * A list of up to 16 points has all points, and its increase is exact. A longer list, and any list in a coarser
 * resolution, is thinned: only the ends of each non-decreasing stretch stay, because the points between them do not
 * change the increase. The increase stays exact when a point arrives later, if its value is between those of its
 * neighbours. A later point with another value shows a reset that the list does not have; the dropped points would have
 * increased the result, and the list is marked inexact. A reset that is followed by a rise above the earlier value, all
 * between two points of one stretch, cannot be detected. More than 8 resets in a bucket are collapsed into a sum. The
 * increase is never greater than that of all points.
 */

export const TOTALS_MAX = 16

/** The increase between two running totals. A decrease is a reset, after which the counter starts at 0. */
export function increaseBetween(previousValue: number, value: number): number {
  return value >= previousValue ? value - previousValue : Math.max(0, value)
}

export class Totals {
  timeMs: number[] = []
  value: number[] = []
  /** The increase of points that were dropped to keep the bound. */
  collapsed = 0
  /** The increase may be less than that of all points, or part of it is known only as a sum. */
  inexact = false
  /** Points inside non-decreasing stretches have been dropped. */
  thinned = false

  /** The list of points [start, end) of columns sorted by time. */
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

  /** A point with the time of an earlier one replaces it. */
  add(timeMs: number, value: number): void {
    const times = this.timeMs
    const values = this.value
    const length = times.length
    if (length === 0 || timeMs > times[length - 1]!) {
      if (length === 0) {
        // A literal has no spare capacity, while `push` allocates 17 elements; most lists have one or two.
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
      let at = length - 1
      while (at > 0 && times[at - 1]! >= timeMs) at--
      if (times[at] === timeMs) {
        if (this.thinned && values[at] !== value) this.inexact = true
        values[at] = value
      } else {
        if (this.thinned && isReset(values[at - 1], value, values[at])) this.inexact = true
        times.splice(at, 0, timeMs)
        values.splice(at, 0, value)
        if (times.length > TOTALS_MAX) this.#bound()
      }
    }
  }

  merge(later: Totals): void {
    // The usual case: the next bucket, which is later than this one, or a single point.
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

  /** The increase from the first of these points to the last. The caller adds the increase before the first. */
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
   * Thins the list. If it is still too long, removes the peak and trough that contribute least, and adds the difference
   * to `collapsed`. The first and the last point always stay.
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
