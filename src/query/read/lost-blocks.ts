import type { MetricRow, Store, Stretch } from '../../store/store.ts'

/**
 * Returns whether the store lost a block of the metric (evicted, deleted by hand or damaged). A block that was only
 * replaced during the query is no longer listed after it was found missing. A lost block is still listed, and retrying
 * the query would fail too.
 */
export async function hasLostBlocks(
  store: Pick<Store, 'readIndex' | 'readBlocks'>,
  { partition, metricId }: MetricRow,
  stepsMs: readonly number[],
  stretch: Stretch,
): Promise<boolean> {
  const list = async (): Promise<ReadonlyMap<string, number>> => {
    const timelines = stepsMs.map((resolutionMs) => ({ resolutionMs, stretch }))
    const snapshot = await store.readIndex({ partition, metricId, timelines, inbox: true })
    const entries = [...snapshot.inbox, ...snapshot.timelines.flatMap((timeline) => timeline.entries)]
    return new Map(entries.map(({ block, sketchBytes }) => [block, sketchBytes]))
  }
  const isMissing = async (names: readonly string[], part: 'scalars' | 'sketches'): Promise<boolean[]> =>
    (await store.readBlocks(partition, names, part)).map((bytes) => bytes === undefined)
  const listed = await list()
  const names = [...listed.keys()]
  for (let from = 0; from < names.length; from += BLOCKS_PER_READ) {
    const batch = names.slice(from, from + BLOCKS_PER_READ)
    const sketched = batch.filter((name) => listed.get(name)! > 0)
    const [scalars, sketches] = await Promise.all([isMissing(batch, 'scalars'), isMissing(sketched, 'sketches')])
    const missing = [...batch.filter((_, i) => scalars[i]), ...sketched.filter((_, i) => sketches[i])]
    if (missing.length === 0) continue
    const again = await list()
    if (missing.some((name) => again.has(name))) return true
  }
  return false
}

/** Maximum number of blocks in memory at once. */
const BLOCKS_PER_READ = 16
