import type { MetricListing, MetricRow } from '../../src/store/catalog.ts'
import type { Store } from '../../src/store/store.ts'

/** All pages of a listing together. */
export async function listAll(
  store: Store,
  project: string,
  listing: Partial<MetricListing> = {},
): Promise<readonly MetricRow[]> {
  const found: MetricRow[] = []
  for (let after = listing.after; ; ) {
    const page = await store.listMetrics(project, {
      namesMax: 100,
      ...listing,
      ...(after === undefined ? {} : { after }),
    })
    found.push(...page.metrics)
    if (page.next === undefined) return found
    after = page.next
  }
}
