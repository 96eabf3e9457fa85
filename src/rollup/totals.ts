/**
 * What is kept of a running total (a cumulative counter) within one bucket: points sorted by time, at most 16. The
 * increase is
 * computed from them, so lists of several gateways, and late points, join into one whatever the order they arrive in.
 *
 * A list of up to 16 points is all of them, and its increase is exactly theirs. Beyond that, and always in coarser
 * resolutions, a
 * list is thinned: of each non-decreasing stretch only the ends stay, because a point inside adds nothing. That is
 * still exact for
 * points that arrive later, as long as they lie where a counter would have been that was not reset between two points
 * of one
 * stretch. A later point that lies elsewhere tells of a reset that the list did not see: then the points that were
 * dropped
 * would have counted for more, and the list is marked inexact. A reset after which the counter climbed back above where
 * it
 * had been, all between two points of one stretch, cannot be told from none. More than 8 resets in a bucket are
 * collapsed into a sum.
 * The increase is never more than that of all points.
 */

export const TOTALS_MAX = 16

/** What a running total adds when it goes from one value to the next; a decrease is a reset and counts from 0. */
export function increaseBetween(previousValue: number, value: number): number {
  return value >= previousValue ? value - previousValue : Math.max(0, value)
}

export class Totals {
  timeMs: number[] = []
  value: number[] = []
  /** Increase of end points that the bound has dropped. */
  collapsed = 0
  /** The increase may be less than that of all points, or what lies between the points left is known only as a sum. */
  inexact = false
  /** Points inside non-decreasing stretches have been dropped. */
  thinned = false

  /** From columns sorted by time, [start, end). */
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

  /** On a time already there the later arrival replaces. */
  add(timeMs: number, value: number): void {
    const times = this.timeMs
    const values = this.value
    const length = times.length
    if (length === 0 || timeMs > times[length - 1]!) {
      if (length === 0) {
        // Literals have room for what they hold and no more, `push` makes room for 17; most lists stay at one or two.
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
    // Mostly the next bucket, after all of this one; or a single point.
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
      const mine = i < times.length ? times[i]! : Number.POSITIVE_INFINITY
      const theirs = j < later.timeMs.length ? later.timeMs[j]! : Number.POSITIVE_INFINITY
      if (mine < theirs) {
        if (later.thinned && isReset(later.value[j - 1], values[i]!, later.value[j])) this.inexact = true
        this.timeMs.push(mine)
        this.value.push(values[i++]!)
      } else {
        if (mine !== theirs) {
          if (this.thinned && isReset(values[i - 1], later.value[j]!, values[i])) this.inexact = true
        } else if (values[i++] !== later.value[j] && (this.thinned || later.thinned)) this.inexact = true
        this.timeMs.push(theirs)
        this.value.push(later.value[j++]!)
      }
    }
    this.#inherit(later)
    if (this.timeMs.length > TOTALS_MAX) this.#bound()
  }

  /** From the first of these points to the last; what came before the first is the caller's to add. */
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
   * Thins, and where that is not enough removes the peak and trough whose loss is least, and remembers the loss. The
   * first and the
   * last point always stay.
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

/** Whether a value between two of one rise lies where the counter could not have been without a reset. */
function isReset(before: number | undefined, value: number, after: number | undefined): boolean {
  return before !== undefined && after !== undefined && before <= after && (value < before || value > after)
}
