import { within } from '../../model/within.ts'
import type { RedisAccess } from './redis-access.ts'

/**
 * Number of metrics of a project over all partitions. On a cluster a node that does not respond in time counts with its
 * last known number and delays later calls no more, until it responds.
 */

/** Projects whose counts are cached. */
const PROJECTS_MAX = 10_000
/** How long a cluster's slowest node is waited for. */
const COUNT_MS_MAX = 250

interface PartitionCount {
  /** The last known number. */
  metrics: number
  /** Requests without a reply. */
  pending: number
  /** It has not responded in time: no further request is sent until it does. */
  isSilent: boolean
}

export class MetricCounts {
  readonly #counts = new Map<string, PartitionCount[]>()

  async count(redis: RedisAccess, project: string): Promise<number> {
    const counts = this.#countsOf(redis, project)
    const requests = counts.flatMap((count, partition) =>
      count.isSilent ? [] : readCount(redis, project, partition, count),
    )
    if (!redis.connections.isCluster) await Promise.all(requests)
    else {
      await within(COUNT_MS_MAX, () => Promise.allSettled(requests)).catch(() => {
        for (const count of counts) count.isSilent = count.pending > 0
      })
    }
    return counts.reduce((sum, { metrics }) => sum + metrics, 0)
  }

  #countsOf(redis: RedisAccess, project: string): PartitionCount[] {
    let counts = this.#counts.get(project)
    if (counts === undefined) {
      if (this.#counts.size >= PROJECTS_MAX) this.#counts.clear()
      this.#counts.set(project, (counts = redis.all().map(() => ({ metrics: 0, pending: 0, isSilent: false }))))
    }
    return counts
  }
}

async function readCount(redis: RedisAccess, project: string, partition: number, count: PartitionCount): Promise<void> {
  count.pending++
  try {
    count.metrics = Number(await redis.call('hlen', redis.keys(partition).catalog(project)))
  } finally {
    count.pending--
    count.isSilent = false
  }
}
