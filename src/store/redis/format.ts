import type { Connections } from './connection.ts'
import { metaKey } from './keys.ts'

/**
 * What a store was made with and cannot change: the hash of a metric's name modulo the partitions says where it lives,
 * and data of a resolution that nobody folds into any more would be found by no query.
 */
export interface Shape {
  readonly partitions: number
  /** Widths in milliseconds, finest first. */
  readonly resolutions: readonly number[]
  readonly setResolutions: readonly number[]
}

/** Version of the keys and their values. A store of another one is refused. */
export const STORE_FORMAT = 1

/** What stands is of another format or shape than asked for. */
export class FormatError extends Error {}

/** Writes the shape into a new store, and answers whether it was one. Throws a `FormatError` that says what stands and what was asked. */
export async function agreeOnFormat({ common, name }: Connections, prefix: string, asked: Shape): Promise<boolean> {
  const { partitions, resolutions, setResolutions } = asked
  const record = JSON.stringify({ version: STORE_FORMAT, partitions, resolutions, setResolutions })
  const key = metaKey(prefix)
  // Of gateways that start at once on an empty server, the first one's stands.
  const standing = (await common.call('get', [key])) ?? (await common.call('set', [key, record, 'NX', 'GET']))
  if (standing === null) return true
  const where = `the store with prefix ${prefix} in ${name}`
  const found = JSON.parse(String(standing)) as Shape & { readonly version: number }
  if (found.version !== STORE_FORMAT) {
    throw new FormatError(
      `${where} has format ${found.version}, this version of the gateway reads format ${STORE_FORMAT}`,
    )
  }
  refuseOther(where, 'partitions', String(found.partitions), String(partitions))
  refuseOther(where, 'resolutions', stepsText(found.resolutions), stepsText(resolutions))
  refuseOther(where, 'set resolutions', stepsText(found.setResolutions), stepsText(setResolutions))
  return false
}

function refuseOther(where: string, what: string, found: string, asked: string): void {
  if (found !== asked) throw new FormatError(`${where} was made with ${what} ${found}, not ${asked}`)
}

function stepsText(steps: readonly number[]): string {
  return steps.map((ms) => `${ms / 1_000}s`).join(',')
}
