/**
 * Counts of points and weights of observations are exact up to here and stay here: the one rule for a point, a merge and an answer. The
 * sum of counts is the same whatever the order they are added in. A weight above it is refused.
 */
export const COUNT_MAX = 2 ** 53

export function addCounts(a: number, b: number): number {
  const sum = a + b
  return sum < COUNT_MAX ? sum : COUNT_MAX
}

/** Whether a weight is a whole number that can be counted. MessagePack has integers beyond. */
export function isWeight(weight: unknown): weight is number | bigint {
  if (typeof weight === 'bigint') return weight >= 0n && weight <= BigInt(COUNT_MAX)
  return typeof weight === 'number' && Number.isInteger(weight) && weight >= 0 && weight <= COUNT_MAX
}
