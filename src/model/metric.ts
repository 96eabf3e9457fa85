import { hash } from 'node:crypto'
import { GatewayError } from './errors.ts'
import { hashFields, type Id64 } from './id.ts'

export const METRIC_TYPES = ['gauge', 'counter', 'distribution', 'set', 'histogram', 'summary'] as const
export type MetricType = (typeof METRIC_TYPES)[number]

/** The types that a client may send; histogram and summary exist in the catalog only. */
export const TRACKED_TYPES = ['gauge', 'counter', 'distribution', 'set'] as const
export type TrackedType = (typeof TRACKED_TYPES)[number]

/** How points are rolled up: the buckets of a histogram are counters, the quantiles of a summary are gauges. */
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
 * UTF-16 code units of the longest name that a store can hold. With its project it must fit into an LMDB key (1,978
 * bytes). No metric has a longer name, so longer texts are not passed to a store.
 */
export const METRIC_NAME_UNITS_MAX = 900

/** Validates a cursor of a list of names, which is the last name of the previous page. Throws `invalid_range`. */
export function requireListPosition(after: string): string {
  if (after.length <= METRIC_NAME_UNITS_MAX) return after
  throw new GatewayError('invalid_range', `after has ${after.length} characters, more than any name`, {
    details: { argument: 'after' },
  })
}

/** The id of a metric. A name belongs to one project; each definition after a deletion is a new generation. */
export function metricIdOf(project: string, name: string, generation: number): Id64 {
  return hashFields(['metric', project, name, String(generation)])
}

/** All data of a metric is in one partition, chosen by a hash of its name, the same on every gateway. */
export function partitionOf(project: string, name: string, partitions: number): number {
  const digest = hash('sha256', `${project.length}:${project}${name}`, 'buffer')
  return digest.readUInt32BE(8) % partitions
}
