import type { Keys, Principal } from './keys.ts'
import { GatewayError, type ItemError } from './model/errors.ts'
import type { MetricType } from './model/metric.ts'
import { describe, type PointSink } from './model/point.ts'
import type { QueryAnswer } from './query/answer.ts'
import type { Querier } from './query/querier.ts'
import type { QueryInput } from './query/request.ts'
import type { MetricRow, Store } from './store/store.ts'
import type { FoldLoop } from './write/fold-loop.ts'
import type { Writer } from './write/writer.ts'

export type { Principal } from './keys.ts'

export interface MetricFilter {
  /** Substring of the name, case-insensitive. */
  readonly search?: string
  readonly type?: MetricType
  /** The last name of the page before. */
  readonly after?: string
  readonly limit?: number
}

/** The verbs of the gateway. HTTP and GraphQL translate to and from them and know nothing below. */
export interface Gateway {
  /**
   * Stores the points that `decode` delivers, together. `decode` runs once, synchronously. Resolves when they are durable,
   * with the items that were left out, by index. Rejects with `overloaded` or `store_unavailable`: nothing was stored.
   */
  track(project: string, decode: (sink: PointSink) => void): Promise<readonly ItemError[]>
  query(project: string, input: QueryInput): Promise<QueryAnswer>
  metric(project: string, name: string): Promise<MetricRow | undefined>
  /** Sorted by name. */
  metrics(project: string, filter?: MetricFilter): Promise<readonly MetricRow[]>
  /** Undefined: no such key. */
  authenticate(key: string): Promise<Principal | undefined>
  /** Resolves when the store answers. */
  ping(): Promise<void>
  /** Stops accepting, finishes what was accepted, closes the store. */
  close(): Promise<void>
}

export interface GatewayOptions {
  readonly writer: Writer
  readonly folds: FoldLoop
  readonly querier: Querier
  readonly store: Store
  readonly keys: Keys
}

export function createGateway({ writer, folds, querier, store, keys }: GatewayOptions): Gateway {
  return {
    track: (project, decode) => writer.track(project, decode),
    async query(project, input) {
      const metric = await storedMetric(store, project, input.metric)
      if (metric === undefined) {
        throw new GatewayError('metric_not_found', `no metric is named ${describe(input.metric)}`)
      }
      return querier.query(metric, input)
    },
    metric: (project, name) => storedMetric(store, project, name),
    async metrics(project, filter = {}) {
      const { search, type, after, limit } = filter
      const rows = await store.listMetrics(project, after === undefined ? {} : { after })
      const needle = search?.toLowerCase()
      const matching = rows.filter(
        (row) =>
          (type === undefined || row.type === type) &&
          (needle === undefined || row.name.toLowerCase().includes(needle)),
      )
      return limit === undefined ? matching : matching.slice(0, limit)
    },
    authenticate: (key) => keys.authenticate(key),
    ping: () => store.ping(),
    async close() {
      await writer.close()
      await folds.stop()
      await store.close()
    },
  }
}

/** A metric that was defined but never received a point does not exist for clients. */
async function storedMetric(store: Store, project: string, name: string): Promise<MetricRow | undefined> {
  const row = await store.readMetric(project, name)
  return row === undefined || row.points === 0 ? undefined : row
}
