import { encode } from '@msgpack/msgpack'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import type { PointSink } from '../../src/model/point.ts'
import type { Steps } from '../../src/model/steps.ts'
import { type BetterStackFormat, decodeBetterStackBody } from '../../src/wire/better-stack-body.ts'
import { decodeFluxBatch } from '../../src/wire/flux-batch.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)

/** How many steps a decoder takes, and the most calls of the sink in one of them. */
function stepsOf(decode: (sink: PointSink) => Steps<unknown>) {
  const { sink, points, errors } = createRecordingSink('shop')
  let calls = 0
  const counted =
    <G extends readonly unknown[], T>(call: (...given: G) => T) =>
    (...given: G): T => {
      calls++
      return call(...given)
    }
  const counting: PointSink = {
    ...sink,
    resolve: counted(sink.resolve),
    add: counted(sink.add),
    addMember: counted(sink.addMember),
    addTotal: counted(sink.addTotal),
    addTotalSince: counted(sink.addTotalSince),
    addWeighted: counted(sink.addWeighted),
    reject: counted(sink.reject),
  }
  const running = decode(counting)
  let steps = 0
  let callsMax = 0
  let refused: string | undefined
  try {
    for (let isDone = false; !isDone; steps++) {
      calls = 0
      isDone = running.next().done === true
      callsMax = Math.max(callsMax, calls)
    }
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    refused = error.code
  }
  return { steps, callsMax, points: points.length, errors: errors.length, refused }
}

const betterStack = (bytes: Uint8Array, format: BetterStackFormat, pointsMax = 1_000_000) =>
  stepsOf((sink) =>
    decodeBetterStackBody(bytes, sink, { format, nowMs: NOW_MS, limits: DEFAULT_POINT_LIMITS, pointsMax }),
  )

const range = (length: number) => Array.from({ length }, (_, i) => i)
const KNOWN = '{"name":"a","gauge":{"value":1}}'

describe('a large body is decoded in short steps', () => {
  const parts = range(50_000)
  const bodies: [string, Uint8Array, BetterStackFormat, points: number, errors: number][] = [
    ['JSON of known items', Buffer.from(`[${Array(50_000).fill(KNOWN).join()}]`), 'json', 50_000, 0],
    [
      'NDJSON of new names',
      Buffer.from(
        range(50_000)
          .map((i) => KNOWN.replace('"a"', `"n${i}"`))
          .join('\n'),
      ),
      'ndjson',
      50_000,
      0,
    ],
    ['MessagePack', encode(Array(50_000).fill(JSON.parse(KNOWN))), 'message-pack', 50_000, 0],
    ['JSON of what is no item', Buffer.from(`[${Array(300_000).fill('12').join()}]`), 'json', 0, 300_000],
    ['NDJSON of what is no item', Buffer.from('1\n'.repeat(50_000)), 'ndjson', 0, 50_000],
    ...(
      [
        ['histogram', { count: 50_000, sum: 1, buckets: parts.map((i) => ({ upper_limit: i, count: 1 })) }, 50_002],
        ['summary', { count: 1, sum: 1, quantiles: parts.map((i) => ({ quantile: i / 50_000, value: 1 })) }, 50_002],
        ['set', { values: parts.map(String) }, 50_000],
        ['distribution', { samples: parts.map((value) => ({ value, rate: 2 })) }, 50_000],
      ] as const
    ).map(([type, value, points]): (typeof bodies)[number] => [
      `one ${type}`,
      Buffer.from(JSON.stringify({ name: 'a', [type]: value })),
      'json',
      points,
      0,
    ]),
  ]

  it.each(bodies)('%s', (_, bytes, format, points, errors) => {
    const outcome = betterStack(bytes, format)
    expect(outcome).toMatchObject({ points, errors, refused: undefined })
    expect(outcome.callsMax).toBeLessThanOrEqual(1_100)
    expect(outcome.steps).toBeGreaterThan(50)
  })

  it('stops at the limit of items without parsing the rest', () => {
    const junk = Buffer.from(`[${Array(300_000).fill('12').join()},`)
    const outcome = betterStack(junk, 'json', 1_000)
    expect(outcome.refused).toBe('payload_too_large')
    expect(outcome.steps).toBeLessThan(100)
  })

  it('an ordinary batch takes a few', () => {
    const items = Array(500).fill('{"name":"a","type":"gauge","value":1,"tags":{"host":"web-1"}}')
    const bytes = Buffer.from(`[${items.join()}]`)
    const { steps, points } = stepsOf((sink) => decodeFluxBatch(bytes, sink, NOW_MS, DEFAULT_POINT_LIMITS, 500))
    expect(points).toBe(500)
    expect(steps).toBeLessThanOrEqual(8)
  })

  it('a large batch of the Flux dialect that cannot be one is parsed in steps too', () => {
    const bytes = Buffer.from(`[${Array(300_000).fill('12').join()}]`)
    const outcome = stepsOf((sink) => decodeFluxBatch(bytes, sink, NOW_MS, DEFAULT_POINT_LIMITS, 500))
    expect(outcome).toMatchObject({ refused: 'batch_too_large', points: 0 })
    expect(outcome.steps).toBeGreaterThan(50)
  })
})
