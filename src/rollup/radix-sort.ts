/**
 * Sorts indexes by integer keys, with a stable radix sort if the keys span less than 2^32. For ids, which are evenly
 * distributed hashes, it is several times as fast as `sort` with a comparison function.
 */

/** Up to this length, an insertion sort is faster: a radix sort goes through its table of counts for each digit. */
const INSERTION_LENGTH_MAX = 64

/** Scratch array: the order before or after sorting by a digit, in turn with the array that is returned. */
let scratchOrder = new Uint32Array(1024)
/** Scratch array: for each value of a digit the number of keys that have it, then the position of the next such key. */
const digitCounts = new Uint32Array(1 << 11)

/**
 * Returns the indexes 0 to length - 1 in ascending order of `keys`. Indexes with equal keys are sorted by
 * `compareEqualKeys`, which must not return 0.
 */
export function orderByKey(
  keys: Uint32Array,
  length: number,
  compareEqualKeys: (a: number, b: number) => number,
): Uint32Array {
  const order = radixOrder(keys, length)
  for (let i = 0; i < length; ) {
    const key = keys[order[i]!]!
    let end = i + 1
    let isInOrder = true
    for (; end < length && keys[order[end]!] === key; end++) {
      isInOrder = isInOrder && compareEqualKeys(order[end - 1]!, order[end]!) < 0
    }
    if (!isInOrder) order.subarray(i, end).sort(compareEqualKeys)
    i = end
  }
  return order
}

/** Returns the indexes of `values`, which are integers, in ascending order of the values. The sort is stable. */
export function orderOfIntegers(values: Float64Array): Uint32Array {
  let least = Number.POSITIVE_INFINITY
  let greatest = Number.NEGATIVE_INFINITY
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    if (value < least) least = value
    if (value > greatest) greatest = value
  }
  if (greatest - least >= 2 ** 32) {
    return Uint32Array.from(values.keys()).sort((a, b) => values[a]! - values[b]! || a - b)
  }
  const keys = new Uint32Array(values.length)
  for (let i = 0; i < keys.length; i++) keys[i] = values[i]! - least
  return radixOrder(keys, keys.length)
}

/** Returns the indexes 0 to length - 1 in ascending order of `keys`. The sort is stable. */
function radixOrder(keys: Uint32Array, length: number): Uint32Array {
  let order = new Uint32Array(length)
  if (length <= INSERTION_LENGTH_MAX) return insertionOrder(keys, order)
  let usedBits = 0
  for (let i = 0; i < length; i++) {
    order[i] = i
    usedBits |= keys[i]!
  }
  if (scratchOrder.length < length) scratchOrder = new Uint32Array(length * 2)
  let target = scratchOrder
  // For few keys a small table of counts is used: clearing a large one would take longer than sorting.
  const digitBits = length < 4096 ? 8 : 11
  const mask = (1 << digitBits) - 1
  let isInScratch = false
  for (let shift = 0; shift < 32 && usedBits >>> shift !== 0; shift += digitBits) {
    digitCounts.fill(0, 0, mask + 1)
    for (let i = 0; i < length; i++) digitCounts[(keys[i]! >>> shift) & mask]!++
    let start = 0
    for (let digit = 0; digit <= mask; digit++) {
      const count = digitCounts[digit]!
      digitCounts[digit] = start
      start += count
    }
    for (let i = 0; i < length; i++) {
      const index = order[i]!
      const digit = (keys[index]! >>> shift) & mask
      target[digitCounts[digit]!++] = index
    }
    const sorted = target
    target = order
    order = sorted
    isInScratch = !isInScratch
  }
  if (!isInScratch) return order
  target.set(order.subarray(0, length))
  return target
}

/** Writes the indexes 0 to `order.length` - 1 to `order`, in ascending order of `keys`. The sort is stable. */
function insertionOrder(keys: Uint32Array, order: Uint32Array<ArrayBuffer>): Uint32Array {
  for (let i = 0; i < order.length; i++) {
    const key = keys[i]!
    let position = i
    for (; position > 0 && keys[order[position - 1]!]! > key; position--) order[position] = order[position - 1]!
    order[position] = i
  }
  return order
}
