/**
 * Points and events that are sent in one mutation with one idempotency key. No items are added after the first attempt
 * to send the batch: the gateway accepts a retry only if it equals the first attempt.
 */
export interface Batch extends Readonly<Record<ListName, string[]>> {
  readonly key: string
  /** Number of items. */
  count: number
  /** Maximum size of the request body. */
  bytes: number
  /** Time of the first attempt to send. Undefined: the batch still accepts items. */
  sentMs?: number
  isSending?: boolean
}

export type ListName = 'metrics' | 'events'

export interface Rejection {
  readonly code: string
  readonly message: string
  /** The point or event as it was sent. */
  readonly item: unknown
}

/**
 * The outcome of sending a batch. With `rejections`, all other items were stored. With `code`, the whole batch was
 * refused. With neither, the batch may be sent again after `retryAfterMs`.
 */
export type Outcome = readonly [
  retryAfterMs: number,
  rejections?: readonly Rejection[] | undefined,
  code?: string | undefined,
  message?: string | undefined,
]

interface MutationResult {
  readonly data?: { readonly trackBatch?: Readonly<Record<ListName, { readonly errors: readonly ItemError[] }>> }
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[]
}

interface ItemError {
  readonly index: number
  readonly code: string
  readonly message: string
}

const LIST_NAMES = ['metrics', 'events'] as const
const MUTATION =
  'mutation($key:ID$metrics:[MetricInput!]$events:[EventInput!]){trackBatch(idempotencyKey:$key metrics:$metrics events:$events){metrics{errors{index code message}}events{errors{index code message}}}}'

/** Maximum size of the request body of a batch without items. */
export const EMPTY_BODY_BYTES = 400
const REQUEST_MS_MAX = 30_000
const RETRY_AFTER_MS_MAX = 3_600_000

/**
 * Matches `STATUS CODE` of a temporary failure. A success without an error code (`200 undefined`) matches too: without
 * a GraphQL result, it may be the login page of a network.
 */
const TEMPORARY = /^(408|429|5|2.. undefined)|UNAVAILABLE|OVERLOADED|INTERNAL/

export function newBatch(): Batch {
  const key = crypto.getRandomValues(new Uint32Array(4)).join('-')
  return { key, metrics: [], events: [], count: 0, bytes: EMPTY_BODY_BYTES }
}

/** Sends a batch and returns its outcome. Never rejects. */
export async function post(url: string, init: RequestInit, batch: Batch): Promise<Outcome> {
  try {
    const { key, metrics, events } = batch
    const body = `{"query":"${MUTATION}","variables":{"key":"${key}","metrics":[${metrics}],"events":[${events}]}}`
    const response = await fetch(url, { ...init, body, signal: AbortSignal.timeout(REQUEST_MS_MAX) })
    const { status, headers } = response
    const result: MutationResult | undefined = await response.json().catch(() => {})
    const stored = result?.data?.trackBatch
    const error = result?.errors?.[0]
    const code = error?.extensions?.code
    return [
      Math.min(RETRY_AFTER_MS_MAX, +headers.get('retry-after')! * 1_000 || 0),
      stored &&
        LIST_NAMES.flatMap((list) =>
          stored[list].errors.map(({ index, ...reason }) => ({ ...reason, item: JSON.parse(batch[list][index]!) })),
        ),
      TEMPORARY.test(`${status} ${code}`) ? undefined : (code ?? `HTTP_${status}`),
      error?.message,
    ]
  } catch {
    return [0]
  }
}
