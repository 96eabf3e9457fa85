/**
 * Items that are sent together, as one mutation with one idempotency key. Once sent, a batch does not change: a retry
 * must equal the first attempt, so that the gateway counts it once.
 */
export interface Batch extends Readonly<Record<List, string[]>> {
  readonly key: string
  count: number
  bytes: number
  /** Time of the first attempt to send. Undefined: the batch still accepts items. */
  sentMs?: number
  isSending?: boolean
}

export type List = 'metrics' | 'events'

export interface Rejection {
  readonly code: string
  readonly message: string
  /** The point or event as it was sent. */
  readonly item: unknown
}

/**
 * What became of a batch: it was stored but for some items, or refused with a code, or may be sent again after a while.
 */
export type Outcome = readonly [
  retryAfterMs: number,
  rejections?: readonly Rejection[] | undefined,
  code?: string | undefined,
  message?: string | undefined,
]

interface Result {
  readonly data?: { readonly trackBatch?: Readonly<Record<List, { readonly errors: readonly ItemError[] }>> }
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[]
}

interface ItemError {
  readonly index: number
  readonly code: string
  readonly message: string
}

const LISTS = ['metrics', 'events'] as const
const MUTATION =
  'mutation($key:ID$metrics:[MetricInput!]$events:[EventInput!]){trackBatch(idempotencyKey:$key metrics:$metrics events:$events){metrics{errors{index code message}}events{errors{index code message}}}}'

/** Bytes of a request body without its items. */
export const FRAME_BYTES = 400
const REQUEST_MS_MAX = 30_000
const RETRY_AFTER_MS_MAX = 3_600_000

/** Status and code of a temporary failure. A success without a result is one: it may be the login page of a network. */
const TEMPORARY = /^(408|429|5|2.. undefined)|UNAVAILABLE|OVERLOADED|INTERNAL/

export function newBatch(): Batch {
  const key = crypto.getRandomValues(new Uint32Array(4)).join('-')
  return { key, metrics: [], events: [], count: 0, bytes: FRAME_BYTES }
}

/** Sends a batch and returns its outcome. Never rejects. */
export async function post(url: string, init: RequestInit, batch: Batch): Promise<Outcome> {
  try {
    const { key, metrics, events } = batch
    const body = `{"query":"${MUTATION}","variables":{"key":"${key}","metrics":[${metrics}],"events":[${events}]}}`
    const response = await fetch(url, { ...init, body, signal: AbortSignal.timeout(REQUEST_MS_MAX) })
    const { status, headers } = response
    const result: Result | undefined = await response.json().catch(() => {})
    const stored = result?.data?.trackBatch
    const error = result?.errors?.[0]
    const code = error?.extensions?.code
    return [
      Math.min(RETRY_AFTER_MS_MAX, +headers.get('retry-after')! * 1_000 || 0),
      stored &&
        LISTS.flatMap((list) =>
          stored[list].errors.map(({ index, ...reason }) => ({ ...reason, item: JSON.parse(batch[list][index]!) })),
        ),
      TEMPORARY.test(`${status} ${code}`) ? undefined : (code ?? `HTTP_${status}`),
      error?.message,
    ]
  } catch {
    return [0]
  }
}
