import { describe, expect, it } from 'vitest'
import { findCharts } from '../../../playground/chart/find-charts.ts'
import { lineColours } from '../../../playground/chart/line-colours.ts'

const COLUMNS = { timestamps: [1_000], values: [1] }

function coloursOf(data: object): readonly (readonly [string, string | undefined])[] {
  const lines = findCharts(data).flatMap((chart) => chart.lines)
  const colours = lineColours(lines)
  return lines.map(({ id, label }) => [label, colours.get(id)])
}

describe('the colours of lines', () => {
  it('set the remainder apart from an ordinary group with the tag value `other`', () => {
    const series = [
      { id: 'a', label: 'sum · other', tags: { host: 'other' }, ...COLUMNS },
      { id: 'b', label: 'sum · x', tags: { host: 'x' }, ...COLUMNS },
      { id: 'c', label: 'sum · other', tags: null, ...COLUMNS },
      { id: 'd', label: 'sum · other', ...COLUMNS },
    ]
    expect(coloursOf({ query: { series } })).toEqual([
      ['sum · other', '--line-0'],
      ['sum · x', '--line-1'],
      ['sum · other', '--line-other'],
      ['sum · other', '--line-2'],
    ])
  })

  it('do the same for lines from buckets', () => {
    const buckets = [{ start: '1970-01-01T00:00:01Z', values: { sum: 3 } }]
    const groups = [
      { tags: { host: 'other' }, buckets },
      { tags: null, buckets },
    ]
    expect(coloursOf({ query: { groups } })).toEqual([
      ['sum · other', '--line-0'],
      ['sum · other', '--line-other'],
    ])
  })

  it('are the same for a line and the line that it is compared with', () => {
    const comparison = { label: 'sum · other · 1w before', values: [7] }
    const series = [
      { id: 'a', label: 'sum · x', tags: { host: 'x' }, ...COLUMNS, comparison },
      { id: 'b', label: 'sum · other', tags: null, ...COLUMNS, comparison },
    ]
    expect(coloursOf({ query: { series } }).map(([, colour]) => colour)).toEqual([
      '--line-0',
      '--line-0',
      '--line-other',
      '--line-other',
    ])
  })
})
