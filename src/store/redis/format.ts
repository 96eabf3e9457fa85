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

/** Writes the shape into a new store; an Error that says what stands and what was asked when it differs. */
export async function agreeOnFormat({ common, name }: Connections, prefix: string, asked: Shape): Promise<void> {
  const { partitions, resolutions, setResolutions } = asked
  const record = JSON.stringify({ version: STORE_FORMAT, partitions, resolutions, setResolutions })
  // Of gateways that start at once on an empty server, the first one's stands.
  const standing = await common.call('set', [metaKey(prefix), record, 'NX', 'GET'])
  if (standing === null) return
  const where = `the store with prefix ${prefix} in ${name}`
  const found = JSON.parse(String(standing)) as Shape & { readonly version: number }
  if (found.version !== STORE_FORMAT) {
    throw new Error(`${where} has format ${found.version}, this version of the gateway reads format ${STORE_FORMAT}`)
  }
  refuseOther(where, 'partitions', String(found.partitions), String(partitions))
  refuseOther(where, 'resolutions', stepsText(found.resolutions), stepsText(resolutions))
  refuseOther(where, 'set resolutions', stepsText(found.setResolutions), stepsText(setResolutions))
}

function refuseOther(where: string, what: string, found: string, asked: string): void {
  if (found !== asked) throw new Error(`${where} was made with ${what} ${found}, not ${asked}`)
}

function stepsText(steps: readonly number[]): string {
  return steps.map((ms) => `${ms / 1_000}s`).join(',')
}
