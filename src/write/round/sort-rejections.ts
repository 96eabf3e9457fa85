import type { ItemError } from '../../model/errors.ts'
import type { Steps } from '../../model/steps.ts'

/** Number of items, or of indexes, after which `sortByIndex` yields. */
const ITEMS_PER_STEP = 20_000

/**
 * Sorts the rejected items of a request by their index: the decoder rejects some, and the admission rejects others
 * later. Sorting runs in steps, because a request may have a million rejected items. Its time is linear in their number
 * and in the greatest index. Items with the same index keep their order.
 */
export function* sortByIndex(rejected: readonly ItemError[]): Steps<readonly ItemError[]> {
  let indexMax = -1
  let isSorted = true
  for (let i = 0; i < rejected.length; i++) {
    const { index } = rejected[i]!
    if (index < indexMax) isSorted = false
    else indexMax = index
    if (i % ITEMS_PER_STEP === ITEMS_PER_STEP - 1) yield
  }
  if (isSorted) return rejected
  // Counting sort: for each index, `nextPositions` has the position in `sorted` of its next item.
  const nextPositions = new Uint32Array(indexMax + 2)
  for (let i = 0; i < rejected.length; i++) {
    nextPositions[rejected[i]!.index + 1]!++
    if (i % ITEMS_PER_STEP === ITEMS_PER_STEP - 1) yield
  }
  for (let index = 1; index < nextPositions.length; index++) {
    nextPositions[index]! += nextPositions[index - 1]!
    if (index % ITEMS_PER_STEP === 0) yield
  }
  const sorted = rejected.slice()
  for (let i = 0; i < rejected.length; i++) {
    const item = rejected[i]!
    sorted[nextPositions[item.index]!++] = item
    if (i % ITEMS_PER_STEP === ITEMS_PER_STEP - 1) yield
  }
  return sorted
}
