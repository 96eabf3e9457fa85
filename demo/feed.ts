import { METRICS, type Point } from './shop.ts'

/** What `/metrics/batch` takes at once. */
const BATCH_ITEMS = 500
/** Batches under way together; the next are made when one is answered. */
const BATCHES_MAX = 4

/** Sends points through the public API, as any client would. */
export interface Feed {
  /** Resolves with how many points were sent once all of them are stored. */
  send(points: Iterable<Point>, signal: AbortSignal): Promise<number>
}

export function createFeed(url: string, key: string): Feed {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  /** Unit and description count when a metric is defined, with its first point. */
  const described = new Set<string>()
  const itemOf = (point: Point): object => {
    if (described.has(point.name)) return point
    described.add(point.name)
    return { ...point, ...METRICS[point.name] }
  }

  const post = async (items: readonly object[], signal: AbortSignal): Promise<void> => {
    const body = JSON.stringify({ metrics: items })
    const response = await fetch(`${url}/api/v1/metrics/batch`, { method: 'POST', headers, body, signal })
    const answer = await response.text()
    if (!response.ok) throw new Error(`the gateway answered ${response.status}: ${answer}`)
    const { data, errors }: { data: { rejected: number }; errors?: unknown } = JSON.parse(answer)
    if (data.rejected > 0) throw new Error(`the gateway refused points: ${JSON.stringify(errors)}`)
  }

  return {
    async send(points, signal) {
      const source = points[Symbol.iterator]()
      let sent = 0
      const worker = async (): Promise<void> => {
        for (;;) {
          const items: object[] = []
          while (items.length < BATCH_ITEMS) {
            const { done, value } = source.next()
            if (done === true) break
            items.push(itemOf(value))
          }
          if (items.length === 0) return
          await post(items, signal)
          sent += items.length
        }
      }
      await Promise.all(Array.from({ length: BATCHES_MAX }, worker))
      return sent
    },
  }
}
