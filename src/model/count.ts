/**
 * Counts of points and weights of observations are exact up to this bound and saturate there, in points, merges and
 * results. So the order of additions does not matter. A weight above the bound is rejected.
 */
export const COUNT_MAX = 2 ** 53

export function addCounts(a: number, b: number): number {
  const sum = a + b
  return sum < COUNT_MAX ? sum : COUNT_MAX
}

/** Whether a weight is a whole number up to `COUNT_MAX`. MessagePack has larger integers. */
export function isWeight(weight: unknown): weight is number | bigint {
  if (typeof weight === 'bigint') return weight >= 0n && weight <= BigInt(COUNT_MAX)
  return typeof weight === 'number' && Number.isInteger(weight) && weight >= 0 && weight <= COUNT_MAX
}
