import { type Shape, shapeDifference } from '../shape.ts'
import type { Connections } from './connection.ts'
import { metaKey } from './keys.ts'

/** The description of a store, written once and compared at every start: format version and shape. */

/** Version of the keys and their values. Another version is refused. */
export const STORE_FORMAT = 1

/** The stored format or shape is not the wanted one. */
export class FormatError extends Error {}

/** Writes the shape into a new store; returns whether it was new. Throws a `FormatError` if another is stored. */
export async function ensureFormat({ common, name }: Connections, prefix: string, wanted: Shape): Promise<boolean> {
  const { partitions, resolutions, setResolutions } = wanted
  const record = JSON.stringify({ version: STORE_FORMAT, partitions, resolutions, setResolutions })
  const key = metaKey(prefix)
  // When several gateways start on an empty server, the first record wins.
  const reply = (await common.call('get', [key])) ?? (await common.call('set', [key, record, 'NX', 'GET']))
  if (reply === null) return true
  const where = `the store with prefix ${prefix} in ${name}`
  const stored = JSON.parse(String(reply)) as Shape & { readonly version: number }
  if (stored.version !== STORE_FORMAT) {
    throw new FormatError(
      `${where} has format ${stored.version}, this version of the gateway reads format ${STORE_FORMAT}`,
    )
  }
  const difference = shapeDifference(stored, wanted)
  if (difference !== undefined) throw new FormatError(`${where} ${difference}`)
  return false
}
