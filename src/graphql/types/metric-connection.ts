import { GatewayError } from '../../model/errors.ts'
import { requireListPosition } from '../../model/metric.ts'
import type { MetricRow } from '../../store/store.ts'
import { builder } from '../builder.ts'
import { MetricRef } from './metric.ts'

export const MetricConnectionRef = builder.connectionObject(
  { type: MetricRef, name: 'MetricConnection', description: 'A page of metrics, sorted by name.' },
  { name: 'MetricEdge', description: 'A metric and its place in the list.' },
)

/** Cursors hold the name, so a page stays right while metrics come and go. */
export function encodeCursor(name: string): string {
  return Buffer.from(`name:${name}`).toString('base64url')
}

/** Throws `invalid_range`. */
export function decodeCursor(cursor: string): string {
  const text = Buffer.from(cursor, 'base64url').toString()
  if (text.startsWith('name:')) return requireListPosition(text.slice('name:'.length))
  throw new GatewayError('invalid_range', 'after is no cursor of this list')
}

/** `rows` holds one more than the page when another page follows. */
export function metricPage(rows: readonly MetricRow[], first: number, afterGiven: boolean) {
  const edges = rows.slice(0, first).map((row) => ({ cursor: encodeCursor(row.name), node: row }))
  return {
    edges,
    pageInfo: {
      hasNextPage: rows.length > first,
      hasPreviousPage: afterGiven,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  }
}
