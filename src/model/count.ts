/**
 * Maximum of a count, and of the weight of a point. Up to this number doubles represent every integer. A sum of counts
 * that would exceed it becomes this number (saturates) in rollups and results, so that the order of additions does not
 * matter. A point with a greater weight is rejected.
 */
export const COUNT_MAX = 2 ** 53

/** Adds two counts. Returns `COUNT_MAX` if the sum is greater. */
export function addCounts(a: number, b: number): number {
  const sum = a + b
  return sum < COUNT_MAX ? sum : COUNT_MAX
}

/** Whether a value is an integer from 0 to `COUNT_MAX`. The decoders of bodies return large integers as bigints. */
export function isWeight(weight: unknown): weight is number | bigint {
  if (typeof weight === 'bigint') return weight >= 0n && weight <= BigInt(COUNT_MAX)
  return typeof weight === 'number' && Number.isInteger(weight) && weight >= 0 && weight <= COUNT_MAX
}
