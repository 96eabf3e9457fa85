import { describe, expect, it } from 'vitest'
import { applyResultUpdate, applyUpdate } from '../../../playground/chart/live-result.ts'
import { readEvents } from '../../../playground/session/event-stream.ts'
import { startGateway } from '../../support/gateway.ts'

const snapshot = {
  kind: 'SNAPSHOT',
  dropBefore: null,
  series: [
    { id: 'a', label: 'a', total: 3, timestamps: [1_000, 2_000], values: [1, 2] },
    { id: 'b', label: 'b', total: 9, timestamps: [1_000], values: [9] },
  ],
}

const AT_2 = new Date(2_000).toISOString()

describe('a live answer', () => {
  it('is replaced by a snapshot', () => {
    expect(applyUpdate(snapshot, { ...snapshot, series: [] })).toEqual({ ...snapshot, series: [] })
  })

  it('takes new and changed buckets of a patch, and drops what has left the range', () => {
    const patch = {
      kind: 'PATCH',
      dropBefore: AT_2,
      series: [{ id: 'a', label: 'a', total: 7, timestamps: [2_000, 3_000], values: [3, 4] }],
    }
    expect(applyUpdate(snapshot, patch)).toMatchObject({
      series: [{ id: 'a', total: 7, timestamps: [2_000, 3_000], values: [3, 4] }],
    })
  })

  it('puts a late bucket where it belongs, and adds new lines', () => {
    const patch = {
      kind: 'PATCH',
      dropBefore: null,
      series: [
        { id: 'b', label: 'b', timestamps: [500], values: [null] },
        { id: 'c', label: 'c', timestamps: [2_000], values: [5] },
      ],
    }
    expect(applyUpdate(snapshot, patch)).toMatchObject({
      series: [{ id: 'a' }, { id: 'b', timestamps: [500, 1_000], values: [null, 9] }, { id: 'c', values: [5] }],
    })
  })

  it('keeps comparisons, points and groups in step', () => {
    const line = (times: readonly number[]) => ({
      id: 'a',
      points: times.map((time) => ({ timestamp: new Date(time).toISOString(), value: time })),
      comparison: { label: 'before', timestamps: times.map((time) => time - 10), values: times.map((time) => -time) },
    })
    const group = (times: readonly number[]) => ({
      tags: { a: '1' },
      total: { sum: times.length },
      buckets: times.map((time) => ({ start: new Date(time).toISOString(), values: { sum: time } })),
    })
    const before = { kind: 'SNAPSHOT', series: [line([1_000, 2_000])], groups: [group([1_000, 2_000])] }
    const patch = { kind: 'PATCH', dropBefore: AT_2, series: [line([3_000])], groups: [group([3_000])] }
    expect(applyUpdate(before, patch)).toMatchObject({
      series: [line([2_000, 3_000])],
      groups: [{ ...group([2_000, 3_000]), total: { sum: 1 } }],
    })
  })

  it('stands at a field of any name; other answers replace the one before', () => {
    const patch = { kind: 'PATCH', dropBefore: null, series: [] }
    expect(applyResultUpdate({ now: snapshot }, { now: patch })).toMatchObject({ now: { series: snapshot.series } })
    expect(applyResultUpdate({ now: snapshot }, { query: { series: [] } })).toEqual({ query: { series: [] } })
    expect(applyResultUpdate(undefined, undefined)).toBeUndefined()
  })
})

it('a picture kept by patches equals the answer of a query', async () => {
  const nowMs = Date.parse('2026-01-01T12:00:00Z')
  let elapsedMs = 0
  const gateway = await startGateway({ now: () => nowMs + elapsedMs })
  const ask = (query: string, accept = 'application/json') =>
    fetch(`${gateway.url}/graphql`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key, 'content-type': 'application/json', accept },
      body: JSON.stringify({ query }),
    })
  const point = (value: number, who: string, agoMs: number) =>
    fetch(`${gateway.url}/api/v1/metrics`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key },
      body: JSON.stringify({ name: 'm', type: 'counter', value, tags: { who }, timestamp: nowMs + elapsedMs - agoMs }),
    })
  const args =
    '(metric: "m", last: "1m", interval: "10s", groupBy: ["who"], fill: NULL, compare: { previousPeriod: true })'
  const fields = 'series { id label total timestamps values comparison { timestamps values } }'
  await point(1, 'a', 0)
  const stream = await ask(`subscription { live${args} { kind dropBefore ${fields} } }`, 'text/event-stream')
  let picture: unknown
  const reading = (async () => {
    for await (const { data } of readEvents<{ data: unknown }>(stream.body!)) picture = applyResultUpdate(picture, data)
  })()
  const ended = expect(reading).rejects.toThrow('the stream ended')
  for (const [value, who, agoMs] of [
    [2, 'a', 0],
    [3, 'b', 30_000],
    [4, 'b', 0],
  ] as const) {
    elapsedMs += 15_000
    await point(value, who, agoMs)
    await expect
      .poll(
        async () => {
          const { data } = (await (await ask(`{ query${args} { ${fields} } }`)).json()) as { data: { query: object } }
          const { live } = picture as { live: { series: object[] } }
          return JSON.stringify(live.series) === JSON.stringify((data.query as { series: object[] }).series)
        },
        { timeout: 10_000 },
      )
      .toBe(true)
  }
  await gateway.close()
  await ended
})
