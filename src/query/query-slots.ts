import type { QuerySignal } from './query-signal.ts'
import { TaskSlots } from './task-slots.ts'

/**
 * Maximum number of large queries that read and merge blocks at the same time. Their blocks, cells and sketches are in
 * memory meanwhile, which may be hundreds of megabytes for each query.
 */
export const MERGING_QUERIES_MAX = 4
/** The same for small queries. They do not wait for large ones. */
const MERGING_SMALL_QUERIES_MAX = 8
/** A query that reads at most this number of rollups from timelines is small. It takes a few tens of milliseconds. */
const SMALL_QUERY_ROLLUPS_MAX = 100_000
/**
 * Maximum number of queries of one project that wait, of large and of small ones: those of ten GraphQL requests. The
 * plan of a waiting query is in memory.
 */
const WAITING_QUERIES_PER_PROJECT_MAX = 1_000

/** Limits how many queries read and merge blocks at the same time. */
export class QuerySlots {
  readonly #largeQueries = new TaskSlots(MERGING_QUERIES_MAX, WAITING_QUERIES_PER_PROJECT_MAX)
  readonly #smallQueries = new TaskSlots(MERGING_SMALL_QUERIES_MAX, WAITING_QUERIES_PER_PROJECT_MAX)

  /** Runs a part of a query that reads `rollupCount` rollups, as `TaskSlots.run` does. */
  run<T>(rollupCount: number, project: string, signal: QuerySignal, task: () => Promise<T>): Promise<T> {
    const slots = rollupCount <= SMALL_QUERY_ROLLUPS_MAX ? this.#smallQueries : this.#largeQueries
    return slots.run(project, signal, task)
  }
}
