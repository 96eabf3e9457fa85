import type { FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { describeValue } from '../../model/point.ts'
import { addVary } from './vary.ts'

/**
 * Comma-separated values (RFC 4180) for spreadsheets. A spreadsheet would run a text such as `=1+1` as a formula (CSV
 * injection), so a text that begins like a formula gets an apostrophe in front. A text that already has apostrophes in
 * front of a formula gets one more, so that different texts stay different.
 */

const FORMULA_START = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/
const NEEDS_QUOTES = /[",\r\n]|^\s|\s$/

/** Writes a cell with text from a client. */
export function csvText(text: string): string {
  const safe = FORMULA_START.test(text) ? `'${text}` : text
  return NEEDS_QUOTES.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** Writes a cell with a number, as JavaScript writes it; an empty cell for null and NaN. */
export function csvNumber(value: number | null): string {
  return value === null || Number.isNaN(value) ? '' : String(value)
}

/** Writes a row. Text from a client must be encoded already, by `csvText`, and numbers by `csvNumber`. */
export function csvRow(encodedCells: readonly string[]): string {
  return `${encodedCells.join(',')}\r\n`
}

/**
 * Whether a request wants CSV instead of JSON. The parameter `format` decides, or else the header `Accept`: CSV must be
 * listed, and JSON must not have a higher quality. Adds `Accept` to `Vary`. Throws `invalid_value` if `format` is
 * neither `csv` nor `json`.
 */
export function wantsCsv({ headers }: FastifyRequest, reply: FastifyReply, format: string | undefined): boolean {
  addVary(reply, ['Accept'])
  if (format === 'csv' || format === 'json') return format === 'csv'
  if (format !== undefined)
    throw new GatewayError('invalid_value', `format must be json or csv, not ${describeValue(format)}`)
  const { accept = '' } = headers
  const csvQuality = acceptQualityOf(accept, 'text/csv')
  return csvQuality > 0 && csvQuality >= acceptQualityOf(accept, 'application/json')
}

/**
 * Returns the quality (`q`) of a media type in the header `Accept`: 1 without `q`. Returns 0 if the header does not
 * list the exact type; a wildcard does not count.
 */
function acceptQualityOf(accept: string, type: string): number {
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
