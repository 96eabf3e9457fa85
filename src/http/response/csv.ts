import type { FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { describe } from '../../model/point.ts'
import { addVary } from './vary.ts'

/**
 * Comma-separated values (RFC 4180) for spreadsheets. Texts of clients cannot become formulas: one that begins like a
 * formula gets an apostrophe in front, which a spreadsheet hides.
 */

const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/
const QUOTED = /[",\r\n]|^\s|\s$/

/** A cell with a text that somebody else chose. */
export function csvText(text: string): string {
  const safe = FORMULA.test(text) ? `'${text}` : text
  return QUOTED.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** A cell with a number; empty when there is none. */
export function csvNumber(value: number | null): string {
  return value === null || Number.isNaN(value) ? '' : String(value)
}

export function csvRow(cells: readonly string[]): string {
  return `${cells.join(',')}\r\n`
}

/**
 * Whether a request wants CSV instead of JSON: `format` decides, or else the header `Accept`. Sets `Vary`. Throws
 * `invalid_value` for another format.
 */
export function wantsCsv({ headers }: FastifyRequest, reply: FastifyReply, format: string | undefined): boolean {
  addVary(reply, ['Accept'])
  if (format === 'csv' || format === 'json') return format === 'csv'
  if (format !== undefined)
    throw new GatewayError('invalid_value', `format must be json or csv, not ${describe(format)}`)
  const { accept = '' } = headers
  const csv = qualityOf(accept, 'text/csv')
  return csv > 0 && csv >= qualityOf(accept, 'application/json')
}

/** The weight of a media type that `Accept` lists by its name; 0 when it does not. */
function qualityOf(accept: string, type: string): number {
  for (const range of accept.split(',')) {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    if (name !== type) continue
    const quality = Number(parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? 1)
    return quality >= 0 ? quality : 0
  }
  return 0
}

export function sendCsv(reply: FastifyReply, csv: string): FastifyReply {
  return reply
    .code(200)
    .headers({ 'content-type': 'text/csv; charset=utf-8; header=present', 'cache-control': 'no-store' })
    .send(csv)
}
