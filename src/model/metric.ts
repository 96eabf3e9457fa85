import { hash } from 'node:crypto'
import { GatewayError } from './errors.ts'
import { hashToId, type Id64 } from './id.ts'

export const METRIC_TYPES = ['gauge', 'counter', 'distribution', 'set', 'histogram', 'summary'] as const
export type MetricType = (typeof METRIC_TYPES)[number]

/**
 * The types of points. A histogram or summary is a type of metrics only: its points are the counters of its buckets, or
 * the gauges of its quantiles.
 */
export const TRACKED_TYPES = ['gauge', 'counter', 'distribution', 'set'] as const
export type TrackedType = (typeof TRACKED_TYPES)[number]

/** The kind of rollups that store a metric. Histograms are stored as counters, summaries as gauges. */
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
 * Maximum length of a metric name in UTF-16 code units. Settings allow at most half as many characters, each of up to
 * two code units. An LMDB key has at most 1,978 bytes, and the key of a metric has 16 bytes of the project and two
 * bytes for each code unit of the name. No metric has a longer name, so a longer text is not looked up in a store.
 */
export const METRIC_NAME_CODE_UNITS_MAX = 900

/** Returns `after`, the last name of the previous page of a metric list. Throws if it is too long to be a name. */
export function validateListCursor(after: string): string {
  if (after.length <= METRIC_NAME_CODE_UNITS_MAX) return after
  throw new GatewayError('invalid_range', `after has ${after.length} characters, more than any name`, {
    details: { argument: 'after' },
  })
}

/**
 * Returns the id of a metric. If the name is defined again after a deletion, the metric gets another generation and so
 * another id.
 */
export function metricIdOf(project: string, name: string, generation: number): Id64 {
  return hashToId(['metric', project, name, String(generation)])
}

/**
 * Returns the number of the partition with all data of a metric: a hash of project and name, modulo `partitionCount`.
 */
export function partitionOf(project: string, name: string, partitionCount: number): number {
  const digest = hash('sha256', `${project.length}:${project}${name}`, 'buffer')
  return digest.readUInt32BE(8) % partitionCount
}
