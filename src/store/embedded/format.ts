import type { Environment, Tables } from './environment.ts'
import { FORMAT_KEY } from './keys.ts'
import { decodeJson, encodeJson } from './rows.ts'

/**
 * What a folder was made with and cannot change: the hash of a metric's name modulo the partitions says where it lives,
 * and data of a resolution that nobody folds into any more would be found by no query.
 */
export interface Shape {
  readonly partitions: number
  /** Widths in milliseconds, finest first. */
  readonly resolutions: readonly number[]
  readonly setResolutions: readonly number[]
}

/** Version of the tables' keys and values. A store of a newer one is refused. */
export const STORE_FORMAT = 1

/** Writes the shape into a new store; an Error that says what stands and what was asked when it differs. */
export async function agreeOnFormat(environment: Environment, folder: string, asked: Shape): Promise<void> {
  await environment.write((writes) => {
    const found = readFormat(writes.tables, folder)
    if (found === undefined) {
      writes.put('meta', FORMAT_KEY, encodeJson({ version: STORE_FORMAT, ...asked }))
      return
    }
    refuseOther(folder, 'partitions', String(found.partitions), String(asked.partitions))
    refuseOther(folder, 'resolutions', stepsText(found.resolutions), stepsText(asked.resolutions))
    refuseOther(folder, 'set resolutions', stepsText(found.setResolutions), stepsText(asked.setResolutions))
  })
}

/** What the folder was made with; undefined when no gateway has used it yet. An Error when its format is not ours. */
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

function refuseOther(folder: string, what: string, found: string, asked: string): void {
  if (found !== asked) throw new Error(`the store in ${folder} was made with ${what} ${found}, not ${asked}`)
}

function stepsText(steps: readonly number[]): string {
  return steps.map((ms) => `${ms / 1_000}s`).join(',')
}
