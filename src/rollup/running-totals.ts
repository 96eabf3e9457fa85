/**
 * The running totals of a cumulative counter in one bucket: a list of at most 16 points, sorted by time. The increase
 * of the counter is computed from the list only when the counter is queried. So points can arrive late and from several
 * gateways, in any order.
 *
 * At the base resolution, up to 16 points are all kept, and the increase is exact. A longer list, and every list of a
 * coarser resolution, is thinned: as long as the total does not decrease, only the first and the last point are kept.
 * The points between them do not change the increase.
 *
 * After thinning, a late point is no problem before the first and after the last point of the list. Between two points
 * it is none if its value lies between theirs, or if the total decreases from one to the other. Otherwise the counter
 * was reset between these two points. The increase around this reset depends on points that thinning may have dropped,
 * so the list is marked inexact. It is also marked if a late point replaces another value of the same time.
 *
 * If a list is still too long after thinning, which takes at least 8 resets, the increases of the smallest peaks are
 * added to a sum (`droppedIncrease`), and their points are dropped. Such a list is marked inexact too. A late point may
 * show an increase again that is in this sum. So what it adds between two points is subtracted from the sum.
 *
 * Without late points, the computed increase is always that of all points. With late points, it may be less, but not
 * greater, unless a late point replaces another value of the same time in a list with dropped peaks.
 */

/** Maximum number of points in a list. */
export const TOTALS_LENGTH_MAX = 16

/**
 * Returns the increase from one running total to the next. A decrease means that the counter was reset to 0 in between,
 * so all of the second total is an increase.
 */
export function increaseBetween(previousValue: number, value: number): number {
  return value >= previousValue ? value - previousValue : Math.max(0, value)
}

/** Returns the increase from one point to another, in a list of totals sorted by time. */
function increaseOf(value: readonly number[], first: number, last: number): number {
  let increase = 0
  for (let i = first + 1; i <= last; i++) increase += increaseBetween(value[i - 1]!, value[i]!)
  return increase
}

export class RunningTotals {
  timeMs: number[] = []
  value: number[] = []
  /**
   * The increase that was lost by dropping points to limit the length of the list. `computeIncrease` adds it to the
   * increase between the remaining points.
   */
  droppedIncrease = 0
  /** Whether the computed increase may differ from that of all points, or is partly in `droppedIncrease`. */
  isInexact = false
  /**
   * Whether `thin` has dropped points of this list or of a list merged into it. A late point may then set `isInexact`.
   */
  isThinned = false

  /** Creates a list from the points [start, end) of two columns, which are sorted by time. */
  static fromColumns(
    timeMs: Float64Array,
    value: Float64Array,
    start: number,
    end: number,
    droppedIncrease: number,
    isInexact: boolean,
    isThinned: boolean,
  ): RunningTotals {
    const totals = new RunningTotals()
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
    totals.droppedIncrease = droppedIncrease
    totals.isInexact = isInexact
    totals.isThinned = isThinned
    return totals
  }

  get length(): number {
    return this.timeMs.length
  }

  /** Adds a point. It replaces a point with the same time. */
  add(timeMs: number, value: number): void {
    const times = this.timeMs
    const values = this.value
    const length = times.length
    if (length === 0 || timeMs > times[length - 1]!) {
      if (length === 0) {
        // Most lists have one or two points. An array literal has no spare capacity; `push` would allocate 17 elements.
        this.timeMs = [timeMs]
        this.value = [value]
      } else if (length === 1) {
        this.timeMs = [times[0]!, timeMs]
        this.value = [values[0]!, value]
      } else {
        times.push(timeMs)
        values.push(value)
        if (times.length > TOTALS_LENGTH_MAX) this.#limitLength()
      }
    } else {
      let position = length - 1
      while (position > 0 && times[position - 1]! >= timeMs) position--
      if (times[position] === timeMs) {
        if (this.isThinned && values[position] !== value) this.isInexact = true
        values[position] = value
      } else {
        const before = values[position - 1]
        const after = values[position]!
        if (this.isThinned && revealsReset(before, value, after)) this.isInexact = true
        if (this.droppedIncrease > 0 && before !== undefined) {
          const gain = increaseOf([before, value, after], 0, 2) - increaseBetween(before, after)
          this.droppedIncrease = Math.max(0, this.droppedIncrease - gain)
        }
        times.splice(position, 0, timeMs)
        values.splice(position, 0, value)
        if (times.length > TOTALS_LENGTH_MAX) this.#limitLength()
      }
    }
  }

  /** Adds the points of a list whose points arrived later. They replace points with the same time. */
  merge(later: RunningTotals): void {
    // The usual case: `later` has one point, this list is empty, or all points of `later` are after those of this list.
    const length = this.timeMs.length
    if (later.timeMs.length === 1 || length === 0 || this.timeMs[length - 1]! < later.timeMs[0]!) {
      for (let i = 0; i < later.timeMs.length; i++) this.add(later.timeMs[i]!, later.value[i]!)
      this.droppedIncrease += later.droppedIncrease
      this.#mergeFlags(later)
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
        if (later.isThinned && revealsReset(later.value[j - 1], values[i]!, later.value[j])) this.isInexact = true
        this.timeMs.push(ownMs)
        this.value.push(values[i++]!)
      } else {
        if (ownMs !== laterMs) {
          if (this.isThinned && revealsReset(values[i - 1], later.value[j]!, values[i])) this.isInexact = true
        } else if (values[i++] !== later.value[j] && (this.isThinned || later.isThinned)) this.isInexact = true
        this.timeMs.push(laterMs)
        this.value.push(later.value[j++]!)
      }
    }
    const dropped = this.#remainingDroppedIncrease(this.droppedIncrease, times, values)
    const laterDropped = this.#remainingDroppedIncrease(later.droppedIncrease, later.timeMs, later.value)
    // If the lists overlap, each may have dropped the same increase.
    const isLaterBefore = later.timeMs.length > 0 && later.timeMs[later.timeMs.length - 1]! < times[0]!
    this.droppedIncrease = isLaterBefore ? dropped + laterDropped : Math.max(dropped, laterDropped)
    this.#mergeFlags(later)
    if (this.timeMs.length > TOTALS_LENGTH_MAX) this.#limitLength()
  }

  /**
   * Returns the increase from the first point of this list to the last. It does not include the increase from the last
   * point of the previous bucket to the first point of this list.
   */
  computeIncrease(): number {
    return this.droppedIncrease + increaseOf(this.value, 0, this.value.length - 1)
  }

  /** Drops each point whose total is not less than that of the point before it and not greater than the next total. */
  thin(): void {
    const { timeMs, value } = this
    const length = value.length
    let keptCount = 0
    for (let i = 0; i < length; i++) {
      const isRedundant =
        keptCount > 0 && i + 1 < length && value[keptCount - 1]! <= value[i]! && value[i]! <= value[i + 1]!
      if (isRedundant) continue
      timeMs[keptCount] = timeMs[i]!
      value[keptCount++] = value[i]!
    }
    if (keptCount === length) return
    timeMs.length = keptCount
    value.length = keptCount
    this.isThinned = true
  }

  /**
   * Returns what remains of the dropped increase of a list whose points were merged into this list. What the other
   * points add between the first and the last point of that list is subtracted.
   */
  #remainingDroppedIncrease(droppedIncrease: number, timeMs: readonly number[], value: readonly number[]): number {
    if (droppedIncrease === 0) return 0
    const last = timeMs.length - 1
    const increase = increaseOf(this.value, this.timeMs.indexOf(timeMs[0]!), this.timeMs.indexOf(timeMs[last]!))
    const gain = Math.max(0, increase - increaseOf(value, 0, last))
    return Math.max(0, droppedIncrease - gain)
  }

  #mergeFlags({ isInexact, isThinned }: RunningTotals): void {
    this.isInexact ||= isInexact
    this.isThinned ||= isThinned
  }

  /**
   * Thins the list. While it is still too long, removes two neighbouring points, of which the second is less: the pair
   * whose removal reduces the increase least. Adds the reduction to `droppedIncrease`. The first and the last point
   * always stay.
   */
  #limitLength(): void {
    this.thin()
    const { timeMs, value } = this
    while (value.length > TOTALS_LENGTH_MAX) {
      let peakIndex = 1
      let lossMin = Number.POSITIVE_INFINITY
      for (let i = 1; i + 2 < value.length; i++) {
        if (value[i]! <= value[i + 1]!) continue
        const loss =
          increaseBetween(value[i - 1]!, value[i]!) +
          increaseBetween(value[i]!, value[i + 1]!) +
          increaseBetween(value[i + 1]!, value[i + 2]!) -
          increaseBetween(value[i - 1]!, value[i + 2]!)
        if (loss < lossMin) {
          peakIndex = i
          lossMin = loss
        }
      }
      timeMs.splice(peakIndex, 2)
      value.splice(peakIndex, 2)
      this.droppedIncrease += lossMin
      this.isInexact = true
      this.thin()
    }
  }
}

/**
 * Whether a point that is inserted between two others shows a reset that these did not show: the total does not
 * decrease from `before` to `after`, but `value` is not between them.
 */
function revealsReset(before: number | undefined, value: number, after: number | undefined): boolean {
  return before !== undefined && after !== undefined && before <= after && (value < before || value > after)
}
