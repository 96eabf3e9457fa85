import { type StoreShape, shapeDifference } from '../store-shape.ts'
import { FORMAT_KEY } from './keys.ts'
import type { Lmdb } from './lmdb.ts'
import { decodeJson, encodeJson } from './rows.ts'

/**
 * The description of a store in its folder: the version of its format, and its shape (partitions and resolutions).
 * Every start of a gateway compares it with the settings.
 */

/**
 * Version of the keys and values of the tables, which are also those in the journal. A store with an unknown version is
 * refused. Journal files also have a version of their own (`journal.ts`).
 */
export const STORE_FORMAT_VERSION = 3

/**
 * Earlier formats that are read too. Format 1 has no journal, and a gateway that knows only format 1 would ignore the
 * journal. Up to format 2, each series has a row of its own. These rows are read as they are; no new ones are written.
 */
const READABLE_VERSIONS: readonly number[] = [1, 2, STORE_FORMAT_VERSION]

/**
 * Writes version and shape into a new store, and raises the version of a store of an earlier format. Throws an Error if
 * the folder has a store of another shape, or of an unknown version.
 */
export async function ensureFormat(lmdb: Lmdb, folder: string, wanted: StoreShape): Promise<void> {
  const stored = readFormat(lmdb, folder)
  const difference = stored && shapeDifference(stored.shape, wanted)
  if (difference !== undefined) throw new Error(`the store in ${folder} ${difference}`)
  if (stored?.version === STORE_FORMAT_VERSION) return
  await lmdb.write(() => lmdb.tables.meta.put(FORMAT_KEY, encodeJson({ version: STORE_FORMAT_VERSION, ...wanted })))
}

/**
 * Returns the version and shape of the store in the folder; undefined for a new folder. Throws an Error if the format
 * has an unknown version.
 */
export function readFormat(
  lmdb: Lmdb,
  folder: string,
): { readonly version: number; readonly shape: StoreShape } | undefined {
  const bytes = lmdb.tables.meta.getBinary(FORMAT_KEY)
  if (bytes === undefined) return undefined
  const { version, ...shape } = decodeJson(bytes) as StoreShape & { readonly version: number }
  if (!READABLE_VERSIONS.includes(version)) {
    throw new Error(
      `the store in ${folder} has format ${version}, this version of the gateway reads format ${STORE_FORMAT_VERSION}`,
    )
  }
  return { version, shape }
}
