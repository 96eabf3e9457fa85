/**
 * Sends points and events of a browser page, or of a Node process, to the gateway. Each batch is one GraphQL mutation
 * with an idempotency key, so a retry does not count twice. Nothing is thrown into the page.
 *
 * Invariant: whatever is tracked is delivered, or reported through a callback. The only exceptions are a request that
 * fails after its page was closed, and a page or process that ends without an event or `close`.
 */

import { createDelivery, type TrackerOptions } from './delivery.ts'
import { type EventFields, eventOf, pointOf, type Tags } from './items.ts'

export type { Rejection } from './batch.ts'
export type { TrackerOptions } from './delivery.ts'
export type { EventFields, Tags } from './items.ts'

export interface Tracker {
  /** A current value. */
  gauge(name: string, value: number, tags?: Tags): void
  /** An increase of a counter. Default: 1. */
  count(name: string, value?: number, tags?: Tags): void
  /** An observation of a distribution, such as a latency. */
  observe(name: string, value: number, tags?: Tags): void
  /** A member of a set, such as a user id. The gateway counts distinct members. */
  member(name: string, member: string, tags?: Tags): void
  event(name: string, fields?: EventFields): void
  /** Sends what waits. Resolves when everything tracked before is delivered, rejected or dropped. Never rejects. */
  flush(): Promise<void>
  /** Flushes, and drops what is left after `waitMs` (default: 5,000). Later calls are dropped. Never rejects. */
  close(waitMs?: number): Promise<void>
}

/** Never throws: invalid options are reported, and then everything that is tracked is dropped. */
export function createTracker(options: TrackerOptions): Tracker {
  const { tags: commonTags, ...settings } = options ?? {}
  const { add, flush, close } = createDelivery(settings)
  const metric =
    (type: string, defaultValue?: number) =>
    (name: string, value: unknown = defaultValue, tags?: Tags): void =>
      add('metrics', () => pointOf(name, type, value, { ...commonTags, ...tags }))
  return {
    gauge: metric('GAUGE'),
    count: metric('COUNTER', 1),
    observe: metric('DISTRIBUTION'),
    member: metric('SET'),
    event: (name, fields) => add('events', () => eventOf(name, fields ?? {}, commonTags)),
    flush,
    close,
  }
}
