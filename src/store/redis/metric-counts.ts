import { withTimeout } from '../../model/with-timeout.ts'
import type { RedisAccess } from './redis-access.ts'

/**
 * Counts the metrics of a project over all partitions. On a cluster, if a node fails or does not respond in time, the
 * last known numbers of its partitions are used (0 if there are none). After that, calls do not wait for a partition
 * without a reply until one of the pending requests to it ends.
 */

/** Maximum number of projects in the cache of counts. A full cache is emptied. */
const CACHED_PROJECTS_MAX = 10_000
/** How long `count` waits for the slowest node of a cluster. */
const COUNT_TIMEOUT_MS = 250

interface MetricCountOfPartition {
  /** Last known number of metrics of the project in the partition. */
  metricCount: number
  /** Number of requests for the count of this partition that have no reply yet. */
  pendingRequestCount: number
  /** Whether a request has not ended in time. No further request is sent until one of the requests ends. */
  isSilent: boolean
}

export class MetricCounts {
  /** For each project, the counts of its metrics: the index in the array is the partition. */
  readonly #countsByProject = new Map<string, MetricCountOfPartition[]>()

  async count(redis: RedisAccess, project: string): Promise<number> {
    const counts = this.#countsOf(redis, project)
    const requests = counts.flatMap((countOfPartition, partition) =>
      countOfPartition.isSilent ? [] : refreshCount(redis, project, partition, countOfPartition),
    )
    if (!redis.connections.isCluster) await Promise.all(requests)
    else {
      await withTimeout(COUNT_TIMEOUT_MS, () => Promise.allSettled(requests)).catch(() => {
        for (const countOfPartition of counts) countOfPartition.isSilent = countOfPartition.pendingRequestCount > 0
      })
    }
    return counts.reduce((sum, { metricCount }) => sum + metricCount, 0)
  }

  #countsOf(redis: RedisAccess, project: string): MetricCountOfPartition[] {
    let counts = this.#countsByProject.get(project)
    if (counts === undefined) {
      if (this.#countsByProject.size >= CACHED_PROJECTS_MAX) this.#countsByProject.clear()
      this.#countsByProject.set(
        project,
        (counts = redis.allPartitions().map(() => ({ metricCount: 0, pendingRequestCount: 0, isSilent: false }))),
      )
    }
    return counts
  }
}

/** Reads the number of metrics of a project in a partition into `countOfPartition`. */
async function refreshCount(
  redis: RedisAccess,
  project: string,
  partition: number,
  countOfPartition: MetricCountOfPartition,
): Promise<void> {
  countOfPartition.pendingRequestCount++
  try {
    countOfPartition.metricCount = Number(await redis.call('hlen', redis.keys(partition).catalog(project)))
  } finally {
    countOfPartition.pendingRequestCount--
    countOfPartition.isSilent = false
  }
}
