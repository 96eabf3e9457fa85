import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseMetricQuery } from '../../../src/http/flux/flux-parameters.ts'

function parse(parameters: string) {
  return parseMetricQuery('m', `/api/v1/metrics/m/query?${parameters}`)
}

function refused(code: string) {
  return expect.objectContaining({ code })
}

describe('parseMetricQuery', () => {
  it('returns the defaults without parameters', () => {
    expect(parseMetricQuery('m', '/api/v1/metrics/m/query')).toEqual({ metric: 'm' })
  })

  it('reads every parameter and ignores unknown and empty ones', () => {
    const text =
      'from=2024-01-15T00:00:00Z&to=1705363199&aggregation=p50,p95&interval=1h&fill=zero&timezone=Europe/Berlin&x=1&group_by='
    expect(parse(text)).toEqual({
      metric: 'm',
      from: '2024-01-15T00:00:00Z',
      to: '1705363199',
      aggregations: ['p50', 'p95'],
      interval: '1h',
      fill: 'zero',
      timezone: 'Europe/Berlin',
    })
  })

  it.each([
    ['aggregation=p95,%20p50,p95', ['p95', 'p50']],
    ['aggregation=p95&aggregation=p50', ['p95', 'p50']],
    ['aggregation=p95,', ['p95', '']],
  ])('reads the terms of %s in order, without duplicates', (text, aggregations) => {
    expect(parse(text).aggregations).toEqual(aggregations)
  })

  it('uses the last value of a repeated parameter', () => {
    expect(parse('interval=1h&interval=1d').interval).toBe('1d')
  })

  it.each([
    ['timezone=Etc/GMT+5', 'Etc/GMT+5'],
    ['timezone=Etc/GMT%2B5', 'Etc/GMT+5'],
    ['timezone=+02:00', '+02:00'],
  ])('keeps the plus sign of %s', (text, timezone) => {
    expect(parse(text).timezone).toBe(timezone)
  })

  it.each([
    ['tags[endpoint]=/users', [['endpoint', ['/users']]]],
    ['tags%5Bendpoint%5D=%2Fusers', [['endpoint', ['/users']]]],
    [
      'tags[a]=1&tags[b]=x+y&tags[a]=2%2B3',
      [
        ['a', ['1', '2+3']],
        ['b', ['x y']],
      ],
    ],
    ['tags[a]=', [['a', ['']]]],
    ['tags[a]', [['a', ['']]]],
    ['tags[a]=b=c', [['a', ['b=c']]]],
    ['tags[__proto__]=__proto__', [['__proto__', ['__proto__']]]],
    ['tags[a]b]=1', [['a]b', ['1']]]],
    ['tagsy[a]=1', []],
  ])('reads %s', (text, tags) => {
    expect([...(parse(text).tags ?? [])]).toEqual(tags)
  })

  it('reads back any tag filter that a client encodes', () => {
    const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter((value) => value.isWellFormed())
    fc.assert(
      fc.property(
        text.filter((key) => !key.includes('][')),
        text,
        (key, value) => {
          const encoded = `${encodeURIComponent(`tags[${key}]`)}=${encodeURIComponent(value)}`
          expect([...(parse(encoded).tags ?? [])]).toEqual([[key, [value]]])
        },
      ),
    )
  })

  it.each(['tags=x', 'tags', 'tags[]=x', 'tags[a=x', 'tags[a][]=x', 'tags[a][b]=x'])(
    'refuses %s as invalid_tags',
    (text) => {
      expect(() => parse(text)).toThrow(refused('invalid_tags'))
    },
  )

  it('groups by tags or by series', () => {
    expect(parse('group_by=tags.a,tags.b.c')).toEqual({ metric: 'm', groupBy: ['a', 'b.c'] })
    expect(parse('group_by=series')).toEqual({ metric: 'm', bySeries: true })
  })

  it.each(['endpoint', 'tags.', 'tags.a,', 'tags.a,series', 'series,tags.a', 'tags[a]'])(
    'refuses to group by %s',
    (text) => {
      expect(() => parse(`group_by=${text}`)).toThrow(refused('invalid_group_by'))
    },
  )

  it('refuses more parameters than any query needs', () => {
    expect(() => parse('x&'.repeat(1_001))).toThrow(refused('query_too_large'))
  })
})
