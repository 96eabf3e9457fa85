/** Reproducible random numbers: the same seed gives the same numbers. */
export interface Random {
  /** In [0, 1). */
  next(): number
  /** A whole number in [0, below). */
  integer(below: number): number
  /** A normally distributed number with mean 0 and standard deviation 1. */
  normal(): number
  /** A Poisson-distributed count with this mean; above 30, an approximation by a normal distribution. */
  poisson(mean: number): number
}

/** A separate stream for each list of numbers, such as `randomOf(seed, day, hour)`. */
export function randomOf(...seeds: readonly number[]): Random {
  let state = 0x9e3779b9
  for (const seed of seeds) {
    // Times have more than 32 bits.
    state = mix(state ^ Math.trunc(seed / 2 ** 32))
    state = mix(state ^ (seed >>> 0))
  }
  // splitmix32: a Weyl sequence and a mixer. Short, fast, and good enough for a demo.
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0
    return mix(state) / 2 ** 32
  }
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
  return {
    next,
    integer: (below) => Math.floor(next() * below),
    normal,
    poisson(mean) {
      if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal()))
      const limit = Math.exp(-mean)
      let times = 0
      for (let product = next(); product > limit; product *= next()) times++
      return times
    },
  }
}

function mix(value: number): number {
  let mixed = value >>> 0
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
  return (mixed ^ (mixed >>> 15)) >>> 0
}
