import { GatewayError } from '../../model/errors.ts'

const PAGE_SIZE_DEFAULT = 100
const PAGE_SIZE_MAX = 1_000

/** Reads the argument `first` of a list. Throws `invalid_range`. */
export function pageSizeOf(first: number | null | undefined): number {
  if (first === null || first === undefined) return PAGE_SIZE_DEFAULT
  if (first >= 0 && first <= PAGE_SIZE_MAX) return first
  throw new GatewayError('invalid_range', `first must be from 0 to ${PAGE_SIZE_MAX}, not ${first}`)
}
