/**
 * Reproducible numbers in [0, 1), so that every run sends the same points: the xorshift generator of Marsaglia (2003).
 */
export function randomNumbers(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 4_294_967_296
  }
}

/** Response times: a log-normal around 100 ms, two decimals. */
export function latency(random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.max(0.01, Math.round(100 * Math.exp(0.7 * normal) * 100) / 100)
}
