import { DDSketch } from '@datadog/sketches-js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { binAccumulator } from '../../src/sketch/bin-accumulator.ts'
import { BinColumns } from '../../src/sketch/bins.ts'
import { binKeyOf, RELATIVE_ERROR, valueOfBin } from '../../src/sketch/quantile-precision.ts'
import { QuantileSketch } from '../../src/sketch/quantile-sketch.ts'
import { measureHeld } from '../support/held-memory.ts'

/** A generator with a seed, so that a failure repeats. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

function normal(next: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
}

const shapes: Record<string, (next: () => number, i: number) => number> = {
  uniform: (next) => next() * 1000,
  exponential: (next) => -Math.log(1 - next()) * 20,
  lognormal: (next) => Math.exp(3 + 1.5 * normal(next)),
  'of both signs': (next) => normal(next) * 50,
  negative: (next) => -1 - next() * 1e6,
  'half zeros': (next, i) => (i % 2 === 0 ? 0 : next() * 10),
  zeros: () => 0,
  constant: () => 42.42,
  bimodal: (next, i) => (i % 10 === 0 ? 5000 : 1) * (1 + 0.1 * next()),
  'of hostile magnitudes': (next) => (next() < 0.5 ? -1 : 1) * 10 ** (next() * 600 - 300),
}

const quantiles = [0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.333, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1]

function sample(shape: string, count: number, seed = 7): number[] {
  const next = random(seed)
  return Array.from({ length: count }, (_, i) => shapes[shape]!(next, i))
}

function sketchOf(values: readonly number[]): QuantileSketch {
  const sketch = new QuantileSketch()
  for (const value of values) sketch.add(value)
  return sketch
}

function binsOf(sketch: QuantileSketch): [number, number][] {
  const bins: [number, number][] = []
  sketch.forEachBin((key, weight) => bins.push([key, weight]))
  return bins
}

function columnsOf(sketch: QuantileSketch): BinColumns {
  const columns = new BinColumns()
  sketch.forEachBin((key, weight) => binAccumulator.add(key, weight))
  binAccumulator.moveTo(columns)
  return columns
}

/** Between two ranks the answer is a mean of two values, each of them off by at most the relative error. */
function expectWithinBound(sketch: QuantileSketch, values: readonly number[]): void {
  const sorted = Float64Array.from(values).sort()
  const min = sorted[0]!
  const max = sorted[sorted.length - 1]!
  for (const q of quantiles) {
    const rank = q * (sorted.length - 1)
    const low = sorted[Math.floor(rank)]!
    const high = sorted[Math.ceil(rank)]!
    const fraction = rank - Math.floor(rank)
    const exact = low === high ? low : low * (1 - fraction) + high * fraction
    const tolerance = (RELATIVE_ERROR + 1e-9) * (Math.abs(low) * (1 - fraction) + Math.abs(high) * fraction)
    expect(Math.abs(sketch.quantile(q, min, max) - exact), `q ${q}: ${exact}`).toBeLessThanOrEqual(tolerance)
  }
}

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%d is refused', (value) => {
  expect(() => new QuantileSketch().add(value)).toThrow(RangeError)
})

describe('quantiles', () => {
  describe.each(Object.keys(shapes))('of data that are %s', (shape) => {
    test.each([1, 2, 3, 10, 33, 1000, 20_000])('are within the bound for %d values', (count) => {
      const values = sample(shape, count)
      expectWithinBound(sketchOf(values), values)
    })

    test('are within the bound after merges in random order', () => {
      const next = random(11)
      const parts = Array.from({ length: 40 }, (_, i) => sample(shape, 1 + Math.floor(next() * 200), i + 1))
      const sketches = parts.map(sketchOf)
      while (sketches.length > 1) {
        const [taken] = sketches.splice(Math.floor(next() * sketches.length), 1)
        sketches[Math.floor(next() * sketches.length)]!.merge(taken!)
      }
      expectWithinBound(sketches[0]!, parts.flat())
      expect(binsOf(sketches[0]!)).toEqual(binsOf(sketchOf(parts.flat())))
    })
  })

  test('p95 of 10, 20, …, 100 is 95.5', () => {
    const values = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    expect(Math.abs(sketchOf(values).quantile(0.95, 10, 100) / 95.5 - 1)).toBeLessThanOrEqual(0.01)
  })

  test('the lowest rank is exactly min, the highest exactly max, none leaves [min, max]', () => {
    const sketch = sketchOf([10.1, 10.1001, 10.1002])
    expect(sketch.quantile(0, 10.1, 10.1002)).toBe(10.1)
    expect(sketch.quantile(1, 10.1, 10.1002)).toBe(10.1002)
    const median = sketch.quantile(0.5, 10.1, 10.1002)
    expect(median).toBeGreaterThanOrEqual(10.1)
    expect(median).toBeLessThanOrEqual(10.1002)
  })

  test('lie between the lowest and highest double without overflow', () => {
    const sketch = sketchOf([-Number.MAX_VALUE, Number.MAX_VALUE])
    expect(sketch.quantile(0.5, -Number.MAX_VALUE, Number.MAX_VALUE)).toBe(0)
  })

  test('of nothing are NaN, and outside of [0, 1] refused', () => {
    expect(new QuantileSketch().quantile(0.5, 0, 0)).toBeNaN()
    for (const q of [-0.1, 1.1, Number.NaN]) expect(() => sketchOf([1]).quantile(q, 1, 1)).toThrow(RangeError)
  })

  test('rise with q', () => {
    const q = fc.double({ min: 0, max: 1, noNaN: true })
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1 }), q, q, (values, a, b) => {
        const sketch = sketchOf(values)
        const min = Math.min(...values)
        const max = Math.max(...values)
        const [low, high] = a < b ? [a, b] : [b, a]
        expect(sketch.quantile(low, min, max)).toBeLessThanOrEqual(sketch.quantile(high, min, max))
      }),
    )
  })

  test.each(Object.keys(shapes).filter((shape) => shape !== 'of hostile magnitudes'))(
    'agree with the reference implementation on data that are %s',
    (shape) => {
      // Its store of 2048 bins collapses the lowest of hostile magnitudes; ours keeps all.
      const values = sample(shape, 4097)
      const reference = new DDSketch({ relativeAccuracy: RELATIVE_ERROR })
      for (const value of values) reference.accept(value)
      const sketch = sketchOf(values)
      const min = Math.min(...values)
      const max = Math.max(...values)
      // Ranks that are whole, in doubles too: there its lower quantile and our interpolation mean the same value.
      for (let rank = 1; rank < 4096; rank += 13) {
        const theirs = Math.min(max, Math.max(min, reference.getValueAtQuantile(rank / 4096)))
        const ours = sketch.quantile(rank / 4096, min, max)
        expect(Math.abs(ours - theirs)).toBeLessThanOrEqual(1e-9 * Math.abs(theirs))
      }
    },
  )
})

describe('weights', () => {
  test('count as repeated adds', () => {
    const observation = fc.tuple(fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.integer({ min: 1, max: 20 }))
    fc.assert(
      fc.property(fc.array(observation), (observations) => {
        const weighted = new QuantileSketch()
        const repeated = new QuantileSketch()
        for (const [value, weight] of observations) {
          weighted.add(value, weight)
          for (let i = 0; i < weight; i++) repeated.add(value)
        }
        expect(binsOf(weighted)).toEqual(binsOf(repeated))
        expect(weighted.totalWeight).toBe(repeated.totalWeight)
      }),
    )
  })

  test('beyond 2^32 keep every one', () => {
    const sketch = new QuantileSketch()
    sketch.add(1, 2 ** 40)
    sketch.add(1000, 2 ** 40 + 1)
    for (let i = 0; i < 40; i++) sketch.add(2 + i)
    expect(sketch.totalWeight).toBe(2 ** 41 + 41)
    expect(sketch.quantile(0.4, 1, 1000)).toBeCloseTo(1, 1)
    expect(Math.abs(sketch.quantile(0.6, 1, 1000) - 1000)).toBeLessThanOrEqual(10)
    const largest = new QuantileSketch()
    largest.add(7, Number.MAX_SAFE_INTEGER)
    expect(largest.totalWeight).toBe(Number.MAX_SAFE_INTEGER)
    expect(Math.abs(largest.quantile(0.5, 1, 9) / 7 - 1)).toBeLessThanOrEqual(0.01)
  })
})

describe('merge', () => {
  // Few and many values, so that both forms meet each other.
  const values = fc.oneof(
    fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { maxLength: 6 }),
    fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 80 }),
    fc.nat(500).map((count) => sample('lognormal', count)),
  )
  const merged = (a: QuantileSketch, b: QuantileSketch): QuantileSketch => {
    const result = new QuantileSketch()
    result.merge(a)
    result.merge(b)
    return result
  }

  test('is associative and commutative, with the empty sketch as identity', () => {
    fc.assert(
      fc.property(values, values, values, (x, y, z) => {
        const [a, b, c] = [sketchOf(x), sketchOf(y), sketchOf(z)]
        const all = binsOf(sketchOf([...x, ...y, ...z]))
        expect(binsOf(merged(merged(a, b), c))).toEqual(all)
        expect(binsOf(merged(a, merged(b, c)))).toEqual(all)
        expect(binsOf(merged(b, a))).toEqual(binsOf(merged(a, b)))
        expect(binsOf(merged(a, new QuantileSketch()))).toEqual(binsOf(a))
        expect(merged(a, b).totalWeight).toBe(x.length + y.length)
      }),
    )
  })

  test('leaves the other sketch as it was and shares nothing with it', () => {
    const other = sketchOf(sample('lognormal', 500))
    const before = binsOf(other)
    const sketch = merged(new QuantileSketch(), other)
    sketch.add(20, 1000)
    expect(binsOf(other)).toEqual(before)
  })

  test('of a sketch with itself doubles it', () => {
    for (const count of [3, 25, 500]) {
      const sketch = sketchOf(sample('lognormal', count))
      const doubled = binsOf(sketch).map(([key, weight]) => [key, weight * 2])
      sketch.merge(sketch)
      expect(binsOf(sketch)).toEqual(doubled)
      expect(sketch.totalWeight).toBe(count * 2)
    }
  })

  test('of bins as columns, of bins one by one and of sketches is the same', () => {
    const weighted = fc.array(fc.tuple(values, fc.constantFrom(1, 127, 128, 70_000, 2 ** 40)), { maxLength: 3 })
    fc.assert(
      fc.property(values, weighted, (x, groups) => {
        const other = new QuantileSketch()
        for (const [group, weight] of groups) for (const value of group) other.add(value, weight)
        const byColumns = sketchOf(x)
        byColumns.addBins(columnsOf(other))
        const byBin = sketchOf(x)
        other.forEachBin((key, weight) => byBin.addBin(key, weight))
        const byMerge = merged(sketchOf(x), other)
        expect(binsOf(byColumns)).toEqual(binsOf(byMerge))
        expect(binsOf(byBin)).toEqual(binsOf(byMerge))
        expect(byColumns.totalWeight).toBe(byMerge.totalWeight)
        expect(byColumns.binCount).toBe(binsOf(byMerge).length)
      }),
    )
  })
})

test('bins ascend, each key once, whatever the order of the values', () => {
  for (const shape of Object.keys(shapes)) {
    const keys = binsOf(sketchOf(sample(shape, 3000))).map(([key]) => key)
    expect(keys).toEqual([...new Set(keys)].sort((a, b) => a - b))
  }
})

test('a cleared sketch is empty and can be used again', () => {
  for (const count of [2, 1000]) {
    const sketch = sketchOf(sample('lognormal', count))
    sketch.clear()
    expect(sketch.totalWeight).toBe(0)
    expect(sketch.binCount).toBe(0)
    sketch.add(5)
    expect(binsOf(sketch)).toEqual([[binKeyOf(5), 1]])
  }
})

describe('memory', () => {
  const SKETCH_BYTES = 160
  const BIN_BYTES = 64

  test('is proportional to the bins, for values of any magnitude and both signs', () => {
    const power = fc
      .tuple(fc.integer({ min: -300, max: 300 }), fc.constantFrom(-1, 1))
      .map(([e, sign]) => sign * 10 ** e)
    const keys = fc
      .tuple(fc.integer({ min: -2_000, max: 2_000 }), fc.nat(15))
      .map(([page, at]) => valueOfBin(page * 16 + at))
    fc.assert(
      fc.property(fc.array(fc.oneof(power, keys), { maxLength: 1_500 }), (values) => {
        const half = values.length >>> 1
        const sketch = sketchOf(values.slice(0, half))
        sketch.merge(sketchOf(values.slice(half)))
        for (const each of [sketch, sketchOf(values)]) {
          expect(each.allocatedBytes).toBeLessThanOrEqual(SKETCH_BYTES + BIN_BYTES * each.binCount)
        }
      }),
    )
  })

  test.each([2, 3, 10, 33, 600])('of %d bins far apart is what the sketch counts', (bins) => {
    const values = Array.from({ length: bins }, (_, i) => (i % 2 === 0 ? 1 : -1) * 10 ** ((i / bins) * 600 - 300))
    // Sketches share scratch arrays, which grow with the first one.
    sketchOf(values)
    const { held, bytes } = measureHeld(() => Array.from({ length: Math.ceil(60_000 / bins) }, () => sketchOf(values)))
    const counted = held.reduce((sum, sketch) => sum + sketch.allocatedBytes, 0)
    expect(bytes).toBeLessThanOrEqual(counted * 1.2)
    expect(counted).toBeLessThanOrEqual(bytes * 1.5)
  })
})
