import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RollupKind } from '../../../src/model/metric.ts'
import { type Block, BlockError, openBlock } from '../../../src/rollup/block/block.ts'
import { type Deflation, type EncodedBlock, encodeBlock, encodeBlocks } from '../../../src/rollup/block/encode-block.ts'
import { mergeRows } from '../../../src/rollup/merge-rows.ts'
import { RollupTable } from '../../../src/rollup/rollup-table.ts'
import { addBinsToSketch } from '../../../src/rollup/row-bins.ts'
import { QuantileSketch } from '../../../src/sketch/quantile-sketch.ts'
import { KINDS, type PlainPoint, plainRollups, pointsOf, tableOf } from '../plain-rollups.ts'

const DEFLATIONS = [false, 'fast', 'small'] as const satisfies readonly Deflation[]

const metric = (lo: number) => ({ hi: 1, lo })

function open({ scalars, sketches }: EncodedBlock): Block {
  const block = openBlock('b1', scalars)
  expect(block.needsSketches).toBe(sketches !== undefined)
  if (sketches !== undefined) block.attachSketches(sketches)
  return block
}

const points = (values: readonly number[], step = 700): PlainPoint[] =>
  values.map((value, i) => ({ hi: i % 3, lo: 9, timeMs: i * step + 0, value, total: i % 2 === 0 }))

/** One metric of each kind. */
function mixedBlock(options: { deflate?: Deflation } = {}): EncodedBlock {
  const values = [1.5, 1.5, 2, -0, 7, 7, 7.25, 1e-300]
  const sections = KINDS.map((kind, i) => ({ metricId: metric(9 - i), rows: tableOf(kind, points(values)) }))
  return encodeBlock(10_000, sections, options)
}

const hostile = fc.oneof(
  fc.constantFrom(5e-324, -5e-324, -0, 0, 1.79e308, -1.79e308, 0.1 + 0.2, 1 / 3, 1e15 + 0.5),
  fc.integer({ min: -1000, max: 1000 }).map((n) => n / 10),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
)

describe('a block gives back what went in', () => {
  test('every kind with every finite double', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...KINDS),
        pointsOf(hostile),
        fc.constantFrom<Deflation[]>(...DEFLATIONS),
        (kind, all, deflate) => {
          const rows = tableOf(kind, all)
          const encoded = encodeBlock(10_000, [{ metricId: metric(1), rows }], { deflate })
          const block = open(encoded)
          expect(encoded.rollupCount).toBe(rows.length)
          expect(block.resolutionMs).toBe(10_000)
          if (rows.length === 0) {
            expect(block.sections).toEqual([])
            return
          }
          const section = block.section(metric(1))!
          expect(section.kind).toBe(kind)
          expect(section.hasTotals).toBe(rows.hasTotals)
          expect(plainRollups(section)).toEqual(plainRollups(rows))
          expect({ hi: section.seriesHi[0], lo: section.seriesLo[0] }).toEqual(encoded.seriesFrom)
          const bucketsMs = section.bucketMs.subarray(0, section.length)
          expect([encoded.firstBucketMs, encoded.lastBucketMs]).toEqual([
            Math.min(...bucketsMs),
            Math.max(...bucketsMs),
          ])
        },
      ),
      { numRuns: 400 },
    )
  })

  test('infinities of a gauge', () => {
    const rows = tableOf('gauge', points([Number.POSITIVE_INFINITY, 1, Number.NEGATIVE_INFINITY, 5e-324]))
    expect(plainRollups(open(encodeBlock(10_000, [{ metricId: metric(1), rows }])).sections[0]!)).toEqual(
      plainRollups(rows),
    )
  })

  test('counts up to 2^53 and beyond 32 bits', () => {
    const table = new RollupTable('distribution')
    const counts = [1, 2 ** 32 - 1, 2 ** 32 + 1, 2 ** 52 + 1, 2 ** 53 - 1]
    counts.forEach((count, i) => {
      table.addWeighted(table.addRow(1, i, 0), 0, 3, count)
    })
    const section = open(encodeBlock(10_000, [{ metricId: metric(1), rows: table.toSortedRows() }])).sections[0]!
    expect([...section.count]).toEqual(counts)
    const sketch = new QuantileSketch()
    addBinsToSketch(section, 4, sketch)
    expect(sketch.totalWeight).toBe(2 ** 53 - 1)
  })

  test.each([
    ['0 and -0', [0, -0]],
    ['-0 and 0', [-0, 0]],
  ])('%s of a distribution, which need no bins', (_, values) => {
    const of = (...all: readonly number[]) =>
      tableOf(
        'distribution',
        all.map((value) => ({ hi: 0, lo: 9, timeMs: 0, value, total: false })),
      )
    const merged = mergeRows(
      values.map((value) => of(value)),
      10_000,
    )
    for (const rows of [of(...values), merged]) {
      const encoded = encodeBlock(10_000, [{ metricId: metric(1), rows }])
      expect(encoded.sketches).toBeUndefined()
      expect(plainRollups(open(encoded).sections[0]!)).toEqual(plainRollups(rows))
    }
  })

  test('lists of totals that the bound has cut', () => {
    const table = new RollupTable('counter')
    const row = table.addRow(1, 1, 0)
    for (let i = 0; i < 60; i++) table.addTotal(row, i, (i * 37) % 17)
    table.addTotal(table.addRow(1, 2, 0), 5, 100)
    const section = open(encodeBlock(10_000, [{ metricId: metric(1), rows: table.toSortedRows() }])).sections[0]!
    expect(section.totalsAt(0)!.isInexact).toBe(true)
    expect(plainRollups(section)).toEqual(plainRollups(table))
    expect(section.totalsAt(0)!.computeIncrease()).toBe(table.totalsAt(0)!.computeIncrease())
  })

  test('no rollups at all', () => {
    const empty = { metricId: metric(1), rows: new RollupTable('gauge').toSortedRows() }
    for (const sections of [[], [empty]]) {
      const encoded = encodeBlock(10_000, sections)
      expect(encoded).toMatchObject({
        rollupCount: 0,
        sketches: undefined,
        seriesFrom: { hi: 0, lo: 0 },
        seriesTo: { hi: 0, lo: 0 },
      })
      const block = open(encoded)
      expect(block.sections).toEqual([])
      expect(block.section(metric(1))).toBeUndefined()
    }
    expect(encodeBlocks(10_000, metric(1), empty.rows)).toEqual([])
  })

  test('many metrics, given in any order, found by id', () => {
    const sections = Array.from({ length: 100 }, (_, i) => ({
      metricId: { hi: (i * 7919) % 101, lo: i },
      rows: tableOf(KINDS[i % 4]!, points([i, i + 1, i, i + 0.5])),
    }))
    const block = open(encodeBlock(10_000, sections))
    expect(block.sections).toHaveLength(100)
    for (const { metricId, rows } of sections) {
      expect(block.section(metricId)!.metricId).toEqual(metricId)
      expect(plainRollups(block.section(metricId)!)).toEqual(plainRollups(rows))
    }
    expect(block.section({ hi: 0, lo: 12345 })).toBeUndefined()
  })

  test('negative epochs and a resolution of a day', () => {
    const rows = tableOf('gauge', points([1, 2, 3, 4], -100_000_000), 86_400_000)
    const section = open(encodeBlock(86_400_000, [{ metricId: metric(1), rows }])).sections[0]!
    expect(plainRollups(section)).toEqual(plainRollups(rows))
  })

  test('a decoded section can be merged and encoded again', () => {
    for (const kind of KINDS) {
      const rows = tableOf(kind, points([1, 1, 2, 5, 5, 9, 9, 9, 1, 3]))
      const section = open(encodeBlock(10_000, [{ metricId: metric(1), rows }])).sections[0]!
      expect(encodeBlock(10_000, [{ metricId: metric(1), rows: section }])).toEqual(
        encodeBlock(10_000, [{ metricId: metric(1), rows }]),
      )
      expect(plainRollups(mergeRows([section, rows], 60_000))).toEqual(plainRollups(mergeRows([rows, section], 60_000)))
    }
  })
})

describe('columns are decoded when asked for', () => {
  test('memory held grows with each of them', () => {
    const rows = tableOf('gauge', points(Array.from({ length: 999 }, (_, i) => i)))
    const block = open(encodeBlock(10_000, [{ metricId: metric(1), rows }]))
    const opened = block.memory.bytes
    const section = block.sections[0]!
    expect(section.sum).toBe(section.sum)
    const summed = block.memory.bytes
    expect(summed).toBeGreaterThanOrEqual(opened + section.length * 8)
    void section.lastMs
    expect(block.memory.bytes).toBeGreaterThan(summed)
  })

  test('bins without their string are a clear error, all else works', () => {
    const rows = tableOf('distribution', points([1, 2, 3, 4, 5, 6], 10))
    const { scalars, sketches } = encodeBlock(10_000, [{ metricId: metric(1), rows }])
    const block = openBlock('b7', scalars)
    expect(block.needsSketches).toBe(true)
    expect(block.areSketchesAttached).toBe(false)
    const section = block.sections[0]!
    expect([...section.sum]).toEqual([5, 7, 9])
    expect(() => section.binStart).toThrow(/block b7: the sketches were not attached/)
    block.attachSketches(sketches!)
    expect(block.areSketchesAttached).toBe(true)
    expect(plainRollups(section)).toEqual(plainRollups(rows))
  })

  test('rows of equal values need no sketch string', () => {
    const rows = tableOf('distribution', points([4, 4, 4, 4, 4, 4], 10))
    const encoded = encodeBlock(10_000, [{ metricId: metric(1), rows }])
    expect(encoded.sketches).toBeUndefined()
    expect(plainRollups(open(encoded).sections[0]!)).toEqual(plainRollups(rows))
  })
})

describe('encodeBlocks', () => {
  const many = (kind: RollupKind, series: number, buckets: number) => {
    const all: PlainPoint[] = []
    for (let s = 0; s < series; s++) {
      for (let b = 0; b < buckets; b++) {
        for (let i = 0; i < 3; i++)
          all.push({ hi: s, lo: 1, timeMs: b * 10_000 + i, value: Math.sin(s * b + i), total: true })
      }
    }
    return tableOf(kind, all)
  }

  test.each<[RollupKind, number, number]>([
    ['gauge', 40, 20],
    ['distribution', 40, 20],
    ['counter', 1, 500],
    ['set', 900, 1],
  ])('a %s of %d series × %d buckets in pieces is the same when put together', (kind, series, buckets) => {
    const rows = many(kind, series, buckets)
    const blocks = encodeBlocks(10_000, metric(1), rows, { bytesMax: 1_500, deflate: 'small' })
    expect(blocks.length).toBeGreaterThan(1)
    for (const block of blocks) {
      expect(block.scalars.length).toBeLessThanOrEqual(1_500)
      expect(block.sketches?.length ?? 0).toBeLessThanOrEqual(1_500)
    }
    const sections = blocks.map((block) => {
      const section = open(block).sections[0]!
      expect(section.length).toBe(block.rollupCount)
      expect({ hi: section.seriesHi[0], lo: section.seriesLo[0] }).toEqual(block.seriesFrom)
      expect({ hi: section.seriesHi[section.seriesCount - 1], lo: section.seriesLo[section.seriesCount - 1] }).toEqual(
        block.seriesTo,
      )
      return section
    })
    expect(sections.reduce((sum, section) => sum + section.length, 0)).toBe(rows.length)
    expect(plainRollups(mergeRows(sections, 10_000))).toEqual(plainRollups(rows))
  })

  test('rows with too many bins for one block are divided before they are encoded', () => {
    const points = Array.from({ length: 20_000 }, (_, i) => ({
      hi: Math.floor(i / 1_000),
      lo: 1,
      timeMs: (i % 10) * 10_000,
      value: 1 + Math.abs(Math.sin(i)) * 1_000,
      total: false,
    }))
    const rows = tableOf('distribution', points)
    let encodedRows = 0
    // While a row is encoded, its bins are looked at once, and those of all rows are copied once.
    const observed = new Proxy(rows, {
      get(target, property) {
        if (property === 'binBytes') encodedRows++
        return Reflect.get(target, property, target)
      },
    })
    const blocks = encodeBlocks(10_000, metric(1), observed, { bytesMax: 6_000 })
    expect(blocks.length).toBeGreaterThan(1)
    expect(encodedRows - blocks.length).toBe(rows.length)
  })

  test('rows that exceed the bound by themselves are blocks of one', () => {
    const rows = many('gauge', 3, 3)
    const blocks = encodeBlocks(10_000, metric(1), rows, { bytesMax: 1 })
    expect(blocks.map((block) => block.rollupCount)).toEqual(Array(9).fill(1))
    expect(
      plainRollups(
        mergeRows(
          blocks.map((block) => open(block).sections[0]!),
          10_000,
        ),
      ),
    ).toEqual(plainRollups(rows))
  })

  test('what fits is one block', () => {
    expect(encodeBlocks(10_000, metric(1), many('gauge', 10, 10))).toHaveLength(1)
  })
})

describe('what cannot be stored is refused', () => {
  test.each<[string, () => unknown]>([
    [
      'a bucket off the resolution',
      () => encodeBlock(60_000, [{ metricId: metric(1), rows: tableOf('set', points([1, 1], 10_000)) }]),
    ],
    [
      'a metric twice',
      () => {
        const section = { metricId: metric(1), rows: tableOf('set', points([1])) }
        return encodeBlock(10_000, [section, section])
      },
    ],
    [
      'a weight that is no integer',
      () => {
        const table = new RollupTable('distribution')
        table.addWeighted(table.addRow(1, 1, 0), 0, 1, 0.5)
        table.addWeighted(0, 0, 2, 0.5)
        return encodeBlock(10_000, [{ metricId: metric(1), rows: table.toSortedRows() }])
      },
    ],
  ])('%s', (_, encode) => {
    expect(encode).toThrow(RangeError)
  })
})

/** Everything a reader could ask of a block. */
function readAll(block: Block): void {
  for (const section of block.sections) plainRollups(section)
}

/** With the checksum made to fit, as only someone who means it would. */
function resealed(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  new DataView(copy.buffer).setUint32(copy.length - 4, crc32(copy.subarray(0, copy.length - 4)), true)
  return copy
}

describe('damaged bytes are an error that names the block', () => {
  for (const deflate of DEFLATIONS) {
    const { scalars, sketches } = mixedBlock({ deflate })
    const title = deflate === false ? '' : `, deflated (${deflate})`

    test(`every cut${title}`, () => {
      for (let end = 0; end < scalars.length; end++) {
        expect(() => openBlock('b9', scalars.subarray(0, end))).toThrow(BlockError)
      }
      for (let end = 0; end < sketches!.length; end++) {
        expect(() => openBlock('b9', scalars).attachSketches(sketches!.subarray(0, end))).toThrow(BlockError)
      }
    })

    test(`every flipped bit and every byte changed${title}`, () => {
      for (let i = 0; i < scalars.length; i++) {
        for (const change of [1, 2, 4, 8, 16, 32, 64, 128, 255]) {
          const damaged = scalars.slice()
          damaged[i]! ^= change
          expect(() => openBlock('b9', damaged)).toThrow(/^block b9: /)
        }
      }
      for (let i = 0; i < sketches!.length; i++) {
        const damaged = sketches!.slice()
        damaged[i]! ^= 1 << (i % 8)
        expect(() => openBlock('b9', scalars).attachSketches(damaged)).toThrow(/^block b9: /)
      }
    })

    test(`changed bytes under a fitting checksum are answered or a BlockError${title}`, () => {
      fc.assert(
        fc.property(
          fc.nat(scalars.length - 5),
          fc.integer({ min: 1, max: 255 }),
          fc.nat(scalars.length),
          (at, change, cut) => {
            const changed = scalars.slice()
            changed[at]! ^= change
            for (const bytes of [resealed(changed), resealed(changed.subarray(0, Math.max(10, cut)))]) {
              try {
                readAll(openBlock('b9', bytes))
              } catch (error) {
                expect(error).toBeInstanceOf(BlockError)
              }
            }
          },
        ),
        { numRuns: 2_000 },
      )
    })

    test(`changed sketches under a fitting checksum are answered or a BlockError${title}`, () => {
      fc.assert(
        fc.property(fc.nat(sketches!.length - 5), fc.integer({ min: 1, max: 255 }), (at, change) => {
          const changed = sketches!.slice()
          changed[at]! ^= change
          try {
            const block = openBlock('b9', scalars)
            block.attachSketches(resealed(changed))
            readAll(block)
          } catch (error) {
            expect(error).toBeInstanceOf(BlockError)
          }
        }),
        { numRuns: 1_000 },
      )
    })
  }

  test.each([1, 3])('version %i is refused, whatever is inside', (version) => {
    const { scalars, sketches } = mixedBlock()
    const other = (bytes: Uint8Array) => resealed(bytes.with(3, version))
    expect(() => openBlock('b9', other(scalars))).toThrow(
      `block b9: scalars of version ${version}; this gateway reads version 2`,
    )
    expect(() => openBlock('b9', scalars).attachSketches(other(sketches!))).toThrow(
      `block b9: sketches of version ${version}; this gateway reads version 2`,
    )
  })

  test('sketches of another block are refused', () => {
    const one = encodeBlock(10_000, [
      { metricId: metric(1), rows: tableOf('distribution', points([1, 2, 3, 4, 5], 1)) },
    ])
    const other = encodeBlock(10_000, [
      { metricId: metric(1), rows: tableOf('distribution', points([1, 2, 3, 4, 6], 1)) },
    ])
    expect(() => openBlock('b9', one.scalars).attachSketches(other.sketches!)).toThrow(
      'block b9: sketches of another block',
    )
  })

  test('a distribution of different values without bins is refused', () => {
    const rows = tableOf('distribution', points([1, 2, 3, 4, 5, 6], 1))
    const { scalars } = encodeBlock(10_000, [{ metricId: metric(1), rows }])
    const noBins = [0, 3, 0, 0, 0]
    const sketches = Uint8Array.from([0x47, 0x51, 0x53, 2, 0, ...scalars.subarray(-4), ...noBins, 0, 0, 0, 0])
    const block = openBlock('b9', scalars)
    block.attachSketches(resealed(sketches))
    expect(() => readAll(block)).toThrow(/^block b9: .*a sketch without bins/)
  })

  test('any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => openBlock('b9', bytes)).toThrow(BlockError)
        const head = Uint8Array.from([0x47, 0x51, 0x42, 2, 0, ...bytes, 0, 0, 0, 0])
        try {
          readAll(openBlock('b9', resealed(head)))
        } catch (error) {
          expect(error).toBeInstanceOf(BlockError)
        }
      }),
    )
  })
})
