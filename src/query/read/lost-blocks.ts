import { GatewayError } from '../../model/errors.ts'
import { Pacer } from '../../model/pacer.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { Store } from '../../store/store.ts'
import type { Stretch } from '../../store/windows.ts'

/**
 * Returns the error of a query that has found blocks gone at each attempt: they are lost, or were replaced. `stretches`
 * are all that the query reads, not only its own range.
 */
export async function missingBlocksError(
  store: Store,
  metric: MetricRow,
  resolutionsMs: readonly number[],
  stretches: readonly Stretch[],
): Promise<GatewayError> {
  if (!(await hasLostBlocks(store, metric, resolutionsMs, stretches)))
    return new GatewayError(
      'store_unavailable',
      'stored blocks were replaced faster than they could be read; try again',
    )
  const reason = await store.explainMissingBlocks()
  const details = { outcome: 'lost' }
  return new GatewayError('store_unavailable', `stored data of this range is lost: ${reason}`, { details })
}

/**
 * Returns whether the store lost a block, or its sketches, that may have data of the metric in these stretches. Redis
 * loses blocks, for example, if it evicts keys or someone deletes them. A lost block is still listed after it was found
 * missing, so every retry of the query would fail. A replaced block is no longer listed after it was found missing.
 */
async function hasLostBlocks(
  store: Pick<Store, 'readIndex' | 'readBlocks'>,
  { partition, metricId }: MetricRow,
  resolutionsMs: readonly number[],
  stretches: readonly Stretch[],
): Promise<boolean> {
  const listBlocks = async (): Promise<ReadonlyMap<string, number>> => {
    const timelines = resolutionsMs.flatMap((resolutionMs) => stretches.map((stretch) => ({ resolutionMs, stretch })))
    const snapshot = await store.readIndex({ partition, metricId, timelines, withInbox: true })
    const entries = [...snapshot.inbox, ...snapshot.timelines.flatMap((timeline) => timeline.entries)]
    return new Map(entries.map(({ block, sketchBytes }) => [block, sketchBytes]))
  }
  const missingFlags = async (names: readonly string[], part: 'scalars' | 'sketches'): Promise<boolean[]> =>
    (await store.readBlocks(partition, names, part)).map((bytes) => bytes === undefined)
  const sketchBytesByName = await listBlocks()
  const names = [...sketchBytesByName.keys()]
  const pacer = new Pacer()
  for (let from = 0; from < names.length; from += BLOCKS_PER_READ) {
    await pacer.pause()
    const batch = names.slice(from, from + BLOCKS_PER_READ)
    const namesWithSketches = batch.filter((name) => sketchBytesByName.get(name)! > 0)
    const [areScalarsMissing, areSketchesMissing] = await Promise.all([
      missingFlags(batch, 'scalars'),
      missingFlags(namesWithSketches, 'sketches'),
    ])
    const missingNames = [
      ...batch.filter((_, i) => areScalarsMissing[i]),
      ...namesWithSketches.filter((_, i) => areSketchesMissing[i]),
    ]
    if (missingNames.length === 0) continue
    const newListing = await listBlocks()
    if (missingNames.some((name) => newListing.has(name))) return true
  }
  return false
}

/** Maximum number of blocks that are read at a time, so that few are in memory. */
const BLOCKS_PER_READ = 16
