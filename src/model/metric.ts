import { hash } from 'node:crypto'
import { GatewayError } from './errors.ts'
import { hashToId, type Id64 } from './id.ts'

export const METRIC_TYPES = ['gauge', 'counter', 'distribution', 'set', 'histogram', 'summary'] as const
export type MetricType = (typeof METRIC_TYPES)[number]

/**
 * The types of points that clients may send. Histograms and summaries arrive as counters and gauges; only the metric
 * catalog has these two types.
 */
export const TRACKED_TYPES = ['gauge', 'counter', 'distribution', 'set'] as const
export type TrackedType = (typeof TRACKED_TYPES)[number]

/**
 * The kind of rollup that stores a metric. The buckets of a histogram are stored as counters, the quantiles of a
 * summary as gauges.
 */
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
 * Maximum length of a metric name in UTF-16 code units. Name and project must fit into one LMDB key (1,978 bytes).
 * Longer texts cannot name a metric, so they are not looked up in a store.
 */
export const METRIC_NAME_UNITS_MAX = 900

/** Validates the cursor of a metric list, which is the last name of the previous page. Throws `invalid_range`. */
export function requireListCursor(after: string): string {
  if (after.length <= METRIC_NAME_UNITS_MAX) return after
  throw new GatewayError('invalid_range', `after has ${after.length} characters, more than any name`, {
    details: { argument: 'after' },
  })
}

/**
 * The id of a metric in a project. The generation increases when a name is defined again after a deletion, so the id
 * changes.
 */
export function metricIdOf(project: string, name: string, generation: number): Id64 {
  return hashToId(['metric', project, name, String(generation)])
}

/** The partition that holds all data of a metric, chosen by a hash of project and name. Equal on every gateway. */
export function partitionOf(project: string, name: string, partitions: number): number {
  const digest = hash('sha256', `${project.length}:${project}${name}`, 'buffer')
  return digest.readUInt32BE(8) % partitions
}
