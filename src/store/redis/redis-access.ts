import type { CommandArgument, Connections } from './connection.ts'
import { type PartitionKeys, partitionKeys } from './keys.ts'
import { runScript, type ScriptCall, type ScriptName } from './scripts.ts'

/** The connections to Redis and the key names of each partition. Most functions of the Redis store get this object. */
export class RedisAccess {
  readonly connections: Connections
  readonly prefix: string
  readonly partitions: number
  readonly #keys: readonly PartitionKeys[]

  constructor(connections: Connections, prefix: string, partitions: number) {
    this.connections = connections
    this.prefix = prefix
    this.partitions = partitions
    this.#keys = Array.from({ length: partitions }, (_, partition) => partitionKeys(prefix, partition))
  }

  keys(partition: number): PartitionKeys {
    const keys = this.#keys[partition]
    if (keys === undefined) throw new RangeError(`there is no partition ${partition}`)
    return keys
  }

  /** The numbers of all partitions, from 0. */
  allPartitions(): number[] {
    return Array.from({ length: this.partitions }, (_, partition) => partition)
  }

  /** Runs a script on the common connection. The client may run it again after a lost reply. */
  run(script: ScriptName, call: ScriptCall): Promise<unknown> {
    return runScript(this.connections.common, script, call)
  }

  /** Sends a command on the common connection. The client may send it again after a lost reply. */
  call(command: string, ...args: CommandArgument[]): Promise<unknown> {
    return this.connections.common.call(command, args)
  }
}

/**
 * Time to live of blocks that no entry lists, except those of folded inbox entries. `sweep` removes such blocks much
 * earlier; if no gateway runs to call it, the server removes them after this time. It is much longer than the lifetimes
 * of unlisted blocks in `bookkeeping-lifetimes.ts`, so it does not shorten them. The server removes the receipts of a
 * project this long after `RECEIPT_KEPT_MS`, counted from the last write of a receipt.
 */
export const SERVER_TTL_MS = 3_600_000

// The command or script determines the type of its reply. These functions throw if a reply is not a list, or not a list
// of lists. They do not check that the innermost elements are texts.

export function textList(reply: unknown): readonly string[] {
  if (!Array.isArray(reply)) throw new TypeError('a reply of Redis is not a list')
  return reply as readonly string[]
}

export function textLists(reply: unknown): readonly (readonly string[])[] {
  if (!Array.isArray(reply)) throw new TypeError('a reply of Redis is not a list')
  return reply.map(textList)
}

/** Splits `values` into chunks of at most `max`. */
export function chunksOf<T>(values: readonly T[], max: number): (readonly T[])[] {
  const chunks: (readonly T[])[] = []
  for (let from = 0; from < values.length; from += max) chunks.push(values.slice(from, from + max))
  return chunks
}

/** Groups values by key, in the order in which the keys first occur. In a group, values keep their order. */
export function groupsOf<T, K>(values: Iterable<T>, keyOf: (value: T) => K): Map<K, [T, ...T[]]> {
  const groups = new Map<K, [T, ...T[]]>()
  for (const value of values) {
    const key = keyOf(value)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [value])
    else group.push(value)
  }
  return groups
}
