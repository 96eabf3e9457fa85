import { type StoreShape, shapeDifference } from '../store-shape.ts'
import type { Connections } from './connection.ts'
import { metaKey } from './keys.ts'

/**
 * The format of a store: the version of its keys and values, and its shape (partitions and resolutions). A gateway
 * writes the format into a new store. When it starts and while it runs, it compares the stored format with its own.
 */

/** Version of the keys and values in Redis. A gateway refuses a store of any other version. */
export const STORE_FORMAT_VERSION = 1

/** Thrown if the stored version or shape differs from the expected one. */
export class FormatError extends Error {
  readonly difference: 'version' | 'shape'

  constructor(difference: 'version' | 'shape', message: string) {
    super(message)
    this.difference = difference
  }
}

/**
 * Writes version and shape into a new store. Returns whether the store was new. Throws `FormatError` if the store has
 * another version or shape.
 */
export async function ensureFormat(
  { common, name }: Connections,
  prefix: string,
  expectedShape: StoreShape,
): Promise<boolean> {
  const { partitions, resolutions, setResolutions } = expectedShape
  const record = JSON.stringify({ version: STORE_FORMAT_VERSION, partitions, resolutions, setResolutions })
  const key = metaKey(prefix)
  // If several gateways start on a new store at once, NX keeps the first record, and GET returns it to the others.
  const reply = (await common.call('get', [key])) ?? (await common.call('set', [key, record, 'NX', 'GET']))
  if (reply === null) return true
  const where = `the store with prefix ${prefix} in ${name}`
  const storedRecord = JSON.parse(String(reply)) as StoreShape & { readonly version: number }
  if (storedRecord.version !== STORE_FORMAT_VERSION) {
    throw new FormatError(
      'version',
      `${where} has format ${storedRecord.version}, this version of the gateway reads format ${STORE_FORMAT_VERSION}`,
    )
  }
  const difference = shapeDifference(storedRecord, expectedShape)
  if (difference !== undefined) throw new FormatError('shape', `${where} ${difference}`)
  return false
}
