import { FLUX_CATALOG_ROWS } from './flux-catalog.ts'
import { FLUX_EVENT_ROWS } from './flux-events.ts'
import { FLUX_QUERY_ROWS } from './flux-queries.ts'
import { FLUX_TRACK_ROWS } from './flux-tracking.ts'
import type { Row } from './row.ts'

export const FLUX_ROWS: readonly Row[] = [
  ...FLUX_TRACK_ROWS,
  ...FLUX_CATALOG_ROWS,
  ...FLUX_QUERY_ROWS,
  ...FLUX_EVENT_ROWS,
]
