import { GatewayError } from '../../model/errors.ts'

const FIRST_DEFAULT = 100
const FIRST_MAX = 1_000

/** Reads the argument `first` of a list. Throws `invalid_range`. */
export function pageSize(first: number | null | undefined): number {
  if (first === null || first === undefined) return FIRST_DEFAULT
  if (first >= 0 && first <= FIRST_MAX) return first
  throw new GatewayError('invalid_range', `first must be from 0 to ${FIRST_MAX}, not ${first}`)
}
