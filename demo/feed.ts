import { type Happening, METRICS, type Point } from './shop.ts'

/** The default limit of `/flux/batch`, for points and for events. */
const BATCH_ITEMS_MAX = 500
/** Batches in flight at a time. */
const BATCHES_IN_FLIGHT_MAX = 4

/** Sends points and events through the public API, as any client would. */
export interface Feed {
  /** Resolves when all points and events are stored, with their number. */
  send(happenings: Iterable<Happening>, signal: AbortSignal): Promise<number>
}

interface Batch {
  readonly metrics: Point[]
  readonly events: object[]
}

interface BatchCounts {
  readonly metrics: { readonly rejected: number }
  readonly events: { readonly rejected: number }
}

export function createFeed(url: string, key: string): Feed {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  /**
   * The metrics that exist. Until then, every batch has their units and descriptions, because batches are sent in
   * parallel and the first one that arrives defines the metric.
   */
  const definedMetrics = new Set<string>()
  const add = ({ metrics, events }: Batch, happening: Happening): void => {
    if (!('type' in happening)) events.push(happening)
    else if (definedMetrics.has(happening.name)) metrics.push(happening)
    else metrics.push({ ...happening, ...METRICS[happening.name] })
  }

  const post = async (batch: Batch, signal: AbortSignal): Promise<void> => {
    const body = JSON.stringify(batch)
    const response = await fetch(`${url}/api/v1/flux/batch`, { method: 'POST', headers, body, signal })
    const text = await response.text()
    if (!response.ok) throw new Error(`the gateway responded with ${response.status}: ${text}`)
    const { data }: { data: BatchCounts } = JSON.parse(text)
    if (data.metrics.rejected + data.events.rejected > 0) throw new Error(`the gateway rejected items: ${text}`)
  }

  return {
    async send(happenings, signal) {
      const source = happenings[Symbol.iterator]()
      let sentCount = 0
      const worker = async (): Promise<void> => {
        for (;;) {
          const batch: Batch = { metrics: [], events: [] }
          while (batch.metrics.length < BATCH_ITEMS_MAX && batch.events.length < BATCH_ITEMS_MAX) {
            const { done, value } = source.next()
            if (done === true) break
            add(batch, value)
          }
          const itemCount = batch.metrics.length + batch.events.length
          if (itemCount === 0) return
          await post(batch, signal)
          for (const { name } of batch.metrics) definedMetrics.add(name)
          sentCount += itemCount
        }
      }
      await Promise.all(Array.from({ length: BATCHES_IN_FLIGHT_MAX }, worker))
      return sentCount
    },
  }
}
