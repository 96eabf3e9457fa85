import { type Shape, shapeDifference } from '../shape.ts'
import type { Environment, Tables } from './environment.ts'
import { FORMAT_KEY } from './keys.ts'
import { decodeJson, encodeJson } from './rows.ts'

/**
 * The description of a store in its folder: format version and shape. It is written once and compared at every start.
 */

/** Version of the tables' keys and values. Another version is refused. */
export const STORE_FORMAT = 1

/** Writes the shape into a new store. Throws an Error when the folder holds a store of another shape or format. */
export async function ensureFormat(environment: Environment, folder: string, wanted: Shape): Promise<void> {
  await environment.write((writes) => {
    const stored = readFormat(writes.tables, folder)
    if (stored === undefined) {
      writes.put('meta', FORMAT_KEY, encodeJson({ version: STORE_FORMAT, ...wanted }))
      return
    }
    const difference = shapeDifference(stored, wanted)
    if (difference !== undefined) throw new Error(`the store in ${folder} ${difference}`)
  })
}

/**
 * The shape that the folder was made with; undefined for a new folder. Throws an Error when its format has another
 * version.
 */
export function readFormat(tables: Tables, folder: string): Shape | undefined {
  const bytes = tables.meta.getBinary(FORMAT_KEY)
  if (bytes === undefined) return undefined
  const { version, ...shape } = decodeJson(bytes) as Shape & { readonly version: number }
  if (version !== STORE_FORMAT) {
    throw new Error(
      `the store in ${folder} has format ${version}, this version of the gateway reads format ${STORE_FORMAT}`,
    )
  }
  return shape
}
