import { Message } from './protobuf.ts'

/** Bodies of remote write for tests, before compression and after it. */

export interface Series {
  readonly labels: Readonly<Record<string, string>>
  /** Value, time and, in 2.0, start. */
  readonly samples?: readonly (readonly [value: number | typeof STALE, timeMs: number, startMs?: number])[]
  readonly histograms?: readonly Message[]
  /** In 2.0 alone. */
  readonly type?: number
  readonly help?: string
  readonly unit?: string
  readonly createdMs?: number
}

export interface Family {
  readonly name: string
  readonly type: number
  readonly help?: string
  readonly unit?: string
}

/** The value of a stale marker. JavaScript does not keep the bits of a NaN. */
export const STALE = 'stale'

function sampleOf(value: number | typeof STALE, timeMs: number): Message {
  const sample = new Message()
  return (value === STALE ? sample.fixed64(1, 0x7ff0000000000002n) : sample.double(1, value)).varint(2, timeMs)
}

export const COUNTER = 1
export const GAUGE = 2
export const HISTOGRAM = 3
export const SUMMARY = 5

export function writeRequestV1(series: readonly Series[], families: readonly Family[] = []): Uint8Array {
  const body = new Message()
  for (const { labels, samples = [], histograms = [] } of series) {
    const message = new Message()
    for (const [name, value] of Object.entries(labels)) message.bytes(1, new Message().bytes(1, name).bytes(2, value))
    for (const [value, timeMs] of samples) message.bytes(2, sampleOf(value, timeMs))
    message.bytes(3, new Message().double(2, 1))
    for (const histogram of histograms) message.bytes(4, histogram)
    body.bytes(1, message)
  }
  for (const { name, type, help = '', unit = '' } of families)
    body.bytes(3, new Message().varint(1, type).bytes(2, name).bytes(4, help).bytes(5, unit))
  return body.finish()
}

export function writeRequestV2(series: readonly Series[]): Uint8Array {
  const symbols = ['']
  const symbol = (text: string): number => {
    const known = symbols.indexOf(text)
    return known >= 0 ? known : symbols.push(text) - 1
  }
  const messages = series.map(({ labels, samples = [], histograms = [], type, help = '', unit = '', createdMs }) => {
    const message = new Message().packedVarints(
      1,
      Object.entries(labels).flatMap(([name, value]) => [symbol(name), symbol(value)]),
    )
    for (const [value, timeMs, startMs] of samples) {
      const sample = sampleOf(value, timeMs)
      message.bytes(2, startMs === undefined ? sample : sample.varint(3, startMs))
    }
    for (const histogram of histograms) message.bytes(3, histogram)
    message.bytes(4, new Message().double(2, 1))
    message.bytes(
      5,
      new Message()
        .varint(1, type ?? 0)
        .varint(3, symbol(help))
        .varint(4, symbol(unit)),
    )
    return createdMs === undefined ? message : message.varint(6, createdMs)
  })
  const body = new Message()
  for (const text of symbols) body.bytes(4, text)
  for (const message of messages) body.bytes(5, message)
  return body.finish()
}

/** Snappy that copies nothing: the whole body as literals. */
export function snappyLiterals(bytes: Uint8Array): Buffer {
  const parts: number[] = []
  let rest = bytes.length
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) parts.push((rest % 0x80) | 0x80)
  parts.push(rest)
  for (let at = 0; at < bytes.length; at += 65_536) {
    const literal = bytes.subarray(at, at + 65_536)
    parts.push(61 << 2, (literal.length - 1) & 0xff, (literal.length - 1) >> 8)
    for (const byte of literal) parts.push(byte)
  }
  return Buffer.from(parts)
}
