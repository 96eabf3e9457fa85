import type { Connections, Value } from './connection.ts'
import { type PartitionKeys, partitionKeys } from './keys.ts'
import { type Call, run, type Verb } from './scripts.ts'

/** What every verb needs: where to send it, and under which keys a partition lies. */
export class Engine {
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

  /** Each partition's number, from 0. */
  all(): number[] {
    return Array.from({ length: this.partitions }, (_, partition) => partition)
  }

  /** A script, on the connection that may try again. */
  run(verb: Verb, call: Call): Promise<unknown> {
    return run(this.connections.common, verb, call)
  }

  /** A plain command. */
  call(command: string, ...args: Value[]): Promise<unknown> {
    return this.connections.common.call(command, args)
  }
}

/**
 * How long the server itself keeps what nobody needs any more, should no gateway sweep. Far longer than the gateway's own terms,
 * which count by the times that it is given.
 */
export const COLLECT_MS = 3_600_000

// Replies are what scripts of ours and commands we chose answer; another shape is a defect.

export function texts(reply: unknown): readonly string[] {
  if (!Array.isArray(reply)) throw new TypeError('the store answered something that is not a list')
  return reply as readonly string[]
}

export function lists(reply: unknown): readonly (readonly string[])[] {
  if (!Array.isArray(reply)) throw new TypeError('the store answered something that is not a list')
  return reply.map(texts)
}

/** `values` in pieces of at most `max`. */
export function chunksOf<T>(values: readonly T[], max: number): (readonly T[])[] {
  const chunks: (readonly T[])[] = []
  for (let from = 0; from < values.length; from += max) chunks.push(values.slice(from, from + max))
  return chunks
}

export function groupsOf<T>(values: Iterable<T>, keyOf: (value: T) => string): Map<string, [T, ...T[]]> {
  const groups = new Map<string, [T, ...T[]]>()
  for (const value of values) {
    const key = keyOf(value)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [value])
    else group.push(value)
  }
  return groups
}
