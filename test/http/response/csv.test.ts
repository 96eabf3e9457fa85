import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { csvNumber, csvRow, csvText } from '../../../src/http/response/csv.ts'
import { startGateway } from '../../support/gateway.ts'

/** What a reader of RFC 4180 makes of a text. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]]
  const cells = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n|$)/g
  for (let match = cells.exec(text); match !== null && match.index < text.length; match = cells.exec(text)) {
    const [, cell = '', end] = match
    rows.at(-1)!.push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell)
    if (end === '\r\n' && cells.lastIndex < text.length) rows.push([])
  }
  return rows
}

describe('a cell', () => {
  it.each([
    ['plain', 'plain'],
    ['', ''],
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['two\r\nlines', '"two\r\nlines"'],
    [' space', '" space"'],
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\t=1"],
    ["'-1", "''-1"],
    ["it's", "it's"],
    ["'quoted'", "'quoted'"],
    ['=cmd|"/c calc"!A1', `"'=cmd|""/c calc""!A1"`],
  ])('with the text %j is %j', (text, cell) => {
    expect(csvText(text)).toBe(cell)
  })

  it('with a number is the number, and empty without one', () => {
    expect([-1.5, 1e21, null, Number.NaN].map(csvNumber)).toEqual(['-1.5', '1e+21', '', ''])
  })

  const formulaLike = fc.string({ unit: fc.constantFrom("'", '-', '=', '1', ' '), maxLength: 4 })

  it('is read back by any reader, and never as a formula', () => {
    const texts = fc.array(
      fc.array(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 8 }), formulaLike), { minLength: 2, maxLength: 4 }),
      {
        minLength: 1,
        maxLength: 4,
      },
    )
    fc.assert(
      fc.property(texts, (rows) => {
        const read = parseCsv(rows.map((row) => csvRow(row.map(csvText))).join(''))
        expect(read.map((row) => row.map((cell) => cell.replace(/^'(?='*[=+\-@\t\r\n＝＋－＠])/, '')))).toEqual(rows)
        expect(read.flat().filter((cell) => /^[=+\-@]/.test(cell))).toEqual([])
      }),
    )
  })
})

describe('answers as CSV', () => {
  it('have a column for each group and aggregation, and a row for each bucket', async () => {
    const gateway = await startGateway({ now: () => Date.UTC(2024, 0, 15, 13) })
    const authorization = `Bearer ${gateway.key}`
    const send = async (path: string, init: RequestInit = {}) =>
      fetch(`${gateway.url}${path}`, { ...init, headers: { authorization, ...init.headers } })
    const point = (minute: number, host: string, value: number) => ({
      ...{ name: 'load', type: 'gauge', value, tags: { host } },
      timestamp: `2024-01-15T12:0${minute}:00Z`,
    })
    await send('/api/v1/metrics/batch', {
      method: 'POST',
      body: JSON.stringify([point(0, '=a', 1), point(1, '=a', -2.5), point(1, 'b,c', 4)]),
      headers: { 'content-type': 'application/json' },
    })
    const event = { name: 'deploy', tags: { who: '=x' }, user_id: '@me', timestamp: '2024-01-15T12:00:00Z' }
    for (let i = 0; i < 2; i++)
      await send('/api/v1/events', {
        method: 'POST',
        body: JSON.stringify(event),
        headers: { 'content-type': 'application/json' },
      })
    const range = 'from=2024-01-15T12:00:00Z&to=2024-01-15T12:02:00Z&interval=1m'
    const read = async (path: string, headers: Record<string, string> = {}) => (await send(path, { headers })).text()

    expect(await read(`/api/v1/metrics/load/query?${range}&format=csv`)).toBe(
      'timestamp,last\r\n2024-01-15T12:00:00Z,1\r\n2024-01-15T12:01:00Z,4\r\n',
    )
    expect(
      await read(`/api/v1/metrics/load/query?${range}&aggregation=min,max&group_by=tags.host`, { accept: 'text/csv' }),
    ).toBe(
      [
        `timestamp,host==a min,host==a max,"host=b,c min","host=b,c max"`,
        '2024-01-15T12:00:00Z,1,1,,',
        '2024-01-15T12:01:00Z,-2.5,-2.5,4,4',
        '',
      ].join('\r\n'),
    )
    expect(await read(`/api/v1/metrics/load/query?${range}&group_by=series&fill=zero&format=csv`)).toContain(
      '2024-01-15T12:02:00Z,0,0\r\n',
    )
    const events = await send('/api/v1/events?format=csv&limit=1')
    expect(events.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present')
    expect(events.headers.get('vary')).toContain('Accept')
    expect(events.headers.get('x-next')).toMatch(/./)
    const [header, row] = parseCsv(await events.text())
    expect(header!.slice(0, 6)).toEqual(['timestamp', 'name', 'value', 'tags', 'properties', 'user_id'])
    expect(row!.slice(0, 6)).toEqual(['2024-01-15T12:00:00Z', 'deploy', '', '{"who":"=x"}', '', "'@me"])

    const json = async (path: string, accept: string) =>
      (await send(path, { headers: { accept } })).headers.get('content-type')
    const query = `/api/v1/metrics/load/query?${range}`
    expect(await json(query, '*/*')).toContain('application/json')
    expect(await json(query, 'application/json, text/csv;q=0.5')).toContain('application/json')
    expect(await json(`${query}&format=json`, 'text/csv')).toContain('application/json')
    expect(await json(query, 'text/csv, */*;q=0.1')).toContain('text/csv')
    const refused = await send(`${query}&format=xml`)
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('invalid_value')])
    await gateway.close()
  })
})
