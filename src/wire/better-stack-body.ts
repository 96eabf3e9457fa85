import { GatewayError } from '../model/errors.ts'
import type { PointSink } from '../model/point.ts'
import { type BetterStackOptions, decodeBetterStackItem } from './better-stack.ts'
import { eachJsonLine, parseJsonBody } from './json-body.ts'
import { eachMessagePackItem } from './message-pack.ts'

export type BetterStackFormat = 'json' | 'ndjson' | 'message-pack'

export interface BetterStackBodyOptions extends BetterStackOptions {
  readonly format: BetterStackFormat
  /** Points of one request, and items. */
  readonly pointsMax: number
}

/**
 * Delivers a whole body (one item or an array of them, on each line in NDJSON) and answers how many items it had. Throws
 * `invalid_body` when any of it cannot be decoded, and `payload_too_large`; what was delivered is void then.
 */
export function decodeBetterStackBody(bytes: Uint8Array, sink: PointSink, options: BetterStackBodyOptions): number {
  const { format, pointsMax } = options
  let items = 0
  let points = 0
  const visit = (item: unknown): void => {
    points += decodeBetterStackItem(item, items++, sink, options)
    if (Math.max(points, items) > pointsMax) {
      throw new GatewayError('payload_too_large', `at most ${pointsMax} points are allowed in a request`)
    }
  }
  const visitAll = (value: unknown): void => {
    if (Array.isArray(value)) for (const item of value) visit(item)
    else visit(value)
  }
  switch (format) {
    case 'json':
      visitAll(parseJsonBody(bytes))
      break
    case 'ndjson':
      eachJsonLine(bytes, visitAll)
      break
    case 'message-pack':
      eachMessagePackItem(bytes, visit)
      break
  }
  return items
}
