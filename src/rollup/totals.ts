/**
 * What is kept of a running total (a cumulative counter) within one bucket: the end points of its non-decreasing stretches,
 * sorted by time. A point strictly inside a stretch adds nothing to the increase and is dropped, so a counter without a reset
 * keeps two points however often it is read, and lists of several gateways, or of late points, join into one.
 *
 * The increase of a list is never more than that of all points it has seen. It is exactly theirs as long as no list holds a
 * rise across a reset that only another list has seen: dropping a point between such two would lose the peak or the trough.
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
  /** The bound has dropped end points: what lies between those left is known only as a sum. */
  inexact = false

  /** From columns sorted by time, [start, end). */
  static of(
    timeMs: Float64Array,
    value: Float64Array,
    start: number,
    end: number,
    collapsed: number,
    inexact: boolean,
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
      if (length >= 2 && values[length - 1]! <= value && values[length - 2]! <= values[length - 1]!) {
        times[length - 1] = timeMs
        values[length - 1] = value
        return
      }
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
        values[at] = value
      } else {
        times.splice(at, 0, timeMs)
        values.splice(at, 0, value)
      }
      this.#dropInner()
      if (times.length > TOTALS_MAX) this.#bound()
    }
  }

  merge(later: Totals): void {
    // Mostly the next bucket, after all of this one; or a single point.
    const length = this.timeMs.length
    if (later.timeMs.length === 1 || length === 0 || this.timeMs[length - 1]! < later.timeMs[0]!) {
      for (let i = 0; i < later.timeMs.length; i++) this.add(later.timeMs[i]!, later.value[i]!)
      this.collapsed += later.collapsed
      this.inexact ||= later.inexact
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
        this.timeMs.push(mine)
        this.value.push(values[i++]!)
      } else {
        if (mine === theirs) i++
        this.timeMs.push(theirs)
        this.value.push(later.value[j++]!)
      }
    }
    this.collapsed += later.collapsed
    this.inexact ||= later.inexact
    this.#dropInner()
    if (this.timeMs.length > TOTALS_MAX) this.#bound()
  }

  /** From the first of these points to the last; what came before the first is the caller's to add. */
  increase(): number {
    let increase = this.collapsed
    for (let i = 1; i < this.value.length; i++) increase += increaseBetween(this.value[i - 1]!, this.value[i]!)
    return increase
  }

  #dropInner(): void {
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
  }

  /** Removes the peak and trough whose loss is least, and remembers the loss. The first and the last point always stay. */
  #bound(): void {
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
      this.#dropInner()
    }
  }
}
