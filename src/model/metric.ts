import { createHash } from 'node:crypto'
import { GatewayError } from './errors.ts'
import { hashFields, type Id64 } from './id.ts'

export const METRIC_TYPES = ['gauge', 'counter', 'distribution', 'set', 'histogram', 'summary'] as const
export type MetricType = (typeof METRIC_TYPES)[number]

/** What a client may send as a `type`; histogram and summary exist in the catalog only. */
export const TRACKED_TYPES = ['gauge', 'counter', 'distribution', 'set'] as const
export type TrackedType = (typeof TRACKED_TYPES)[number]

/** How the points of a metric are rolled up: a histogram's buckets are counters, a summary's quantiles gauges. */
export type RollupKind = 'gauge' | 'counter' | 'distribution' | 'set'

export function rollupKindOf(type: MetricType): RollupKind {
  if (type === 'histogram') return 'counter'
  if (type === 'summary') return 'gauge'
  return type
}

export function isMetricType(value: unknown): value is MetricType {
  return typeof value === 'string' && (METRIC_TYPES as readonly string[]).includes(value)
}

export function isTrackedType(value: unknown): value is TrackedType {
  return typeof value === 'string' && (TRACKED_TYPES as readonly string[]).includes(value)
}

/**
 * UTF-16 code units of the longest name that a store can hold: with its project it fits into a key of LMDB (1,978 bytes). Longer
 * texts name no metric, and never reach a store.
 */
export const METRIC_NAME_UNITS_MAX = 900

/** Where a list of names goes on: after this name. Throws `invalid_range` for what is no name. */
export function requireListPosition(after: string): string {
  if (after.length <= METRIC_NAME_UNITS_MAX) return after
  throw new GatewayError('invalid_range', `after has ${after.length} characters, more than any name`, {
    details: { argument: 'after' },
  })
}

/** A metric's identity: a name belongs to one project, and after a deletion it begins a new generation. */
export function metricIdOf(project: string, name: string, generation: number): Id64 {
  return hashFields(['metric', project, name, String(generation)])
}

/** All of a metric lives in one partition, chosen by its name so that every gateway agrees. */
export function partitionOf(project: string, name: string, partitions: number): number {
  const digest = createHash('sha256').update(`${project.length}:${project}${name}`).digest()
  return digest.readUInt32BE(8) % partitions
}
