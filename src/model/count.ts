/**
 * The greatest count of points and the greatest weight. Counts are exact up to this bound. A greater sum is set to the
 * bound (saturates) in points, merges and results, so the order of additions does not matter. A greater weight is
 * rejected.
 */
export const COUNT_MAX = 2 ** 53

export function addCounts(a: number, b: number): number {
  const sum = a + b
  return sum < COUNT_MAX ? sum : COUNT_MAX
}

/** Whether a weight is a whole number from 0 to `COUNT_MAX`. MessagePack also encodes larger integers, as bigints. */
export function isWeight(weight: unknown): weight is number | bigint {
  if (typeof weight === 'bigint') return weight >= 0n && weight <= BigInt(COUNT_MAX)
  return typeof weight === 'number' && Number.isInteger(weight) && weight >= 0 && weight <= COUNT_MAX
}
