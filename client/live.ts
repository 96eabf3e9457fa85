import { applyUpdate, type Chart, EMPTY_CHART, type LiveUpdate } from './chart.ts'

export type { Bucket, Chart, ChartGroup, ChartLine, ChartPoint, LiveUpdate } from './chart.ts'

/**
 * Keeps the result of a `live` subscription up to date in a page or a Node process: applies the patches, and reconnects
 * after a lost connection. Invariant: each chart passed to the caller equals the result of a new query at its time.
 */
export interface LiveOptions {
  /** The GraphQL endpoint, such as `https://metrics.example/graphql`. */
  readonly url: string
  /** An API key with the scope `query`. */
  readonly key: string
  /** A subscription. `live` must select `kind`, `dropBefore`, and `id` of `series` or `tags` of `groups`. */
  readonly query: string
  readonly variables?: Readonly<Record<string, unknown>>
  /** Receives errors. An error with `isFinal` ends the subscription. Default: a warning on the console. */
  readonly onError?: (error: LiveError) => void
}

export interface LiveError {
  /** An error code of the gateway, or a status such as `HTTP_404`. */
  readonly code: string
  readonly message: string
  readonly isFinal: boolean
}

interface Result {
  readonly data?: Readonly<Record<string, LiveUpdate | null>> | null
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[]
}

/** A connection that is silent for this long is reopened. The gateway sends at least a keep-alive every 15 s. */
const SILENCE_MS_MAX = 45_000
const BACKOFF_MS_MIN = 1_000
const BACKOFF_MS_MAX = 30_000
const RETRY_AFTER_MS_MAX = 3_600_000
/** Maximum characters of one update. By default, a gateway returns at most 50,000 values. */
const UPDATE_CHARS_MAX = 32_000_000

/** Calls `onChart` with the whole chart after each update. Returns a function that ends the subscription. */
export function subscribeLive(options: LiveOptions, onChart: (chart: Chart) => void): () => void {
  const { url, key, query, variables, onError = console.warn } = options
  const stopped = new AbortController()
  let chart = EMPTY_CHART
  let failureCount = 0
  let retryAfterMs = 0

  const reportError = (code: string, message: string, isFinal: boolean): void => {
    if (isFinal) stopped.abort()
    callSafely(onError, { code, message, isFinal })
  }

  const applyResult = ({ data, errors }: Result): void => {
    const [error] = errors ?? []
    if (error !== undefined) reportError(error.extensions?.code ?? 'UNKNOWN', error.message, false)
    const update = Object.values(data ?? {})[0]
    if (update == null) return
    try {
      chart = applyUpdate(chart, update)
    } catch (reason) {
      reportError('INVALID_SELECTION', String(reason), true)
      return
    }
    failureCount = 0
    callSafely(onChart, chart)
  }

  /** Opens a stream and applies its results. Resolves when it has ended or was refused; rejects if it fails. */
  const connect = async (): Promise<void> => {
    const connectionAbort = new AbortController()
    const abort = (): void => connectionAbort.abort()
    let silenceTimer = setTimeout(abort, SILENCE_MS_MAX)
    stopped.signal.addEventListener('abort', abort)
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', accept: 'text/event-stream' },
        body: JSON.stringify({ query, variables }),
        signal: connectionAbort.signal,
      })
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return await reportRefusal(response)
      for await (const { event, data } of eventsOf(response)) {
        clearTimeout(silenceTimer)
        silenceTimer = setTimeout(abort, SILENCE_MS_MAX)
        if (stopped.signal.aborted) return
        if (event === 'complete') return reportError('COMPLETE', 'the gateway ended the subscription', true)
        if (event === 'next') applyResult(JSON.parse(data))
      }
    } finally {
      clearTimeout(silenceTimer)
      stopped.signal.removeEventListener('abort', abort)
      abort()
    }
  }

  const reportRefusal = async (response: Response): Promise<void> => {
    const { status, headers } = response
    const result: Result | undefined = await response.json().catch(() => undefined)
    const { message = '', extensions } = result?.errors?.[0] ?? {}
    retryAfterMs = Math.min(RETRY_AFTER_MS_MAX, Number(headers.get('retry-after')) * 1_000 || 0)
    const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 429
    reportError(extensions?.code ?? `HTTP_${status}`, message, isFinal)
  }

  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      retryAfterMs = 0
      await connect().catch(() => {})
      const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** failureCount++)
      await waitBeforeReconnect(retryAfterMs + backoffMs * Math.random(), stopped.signal)
    }
  }
  run()
  return () => stopped.abort()
}

/**
 * Yields server-sent events; for a comment, which is a keep-alive, an event with empty fields
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 */
async function* eventsOf({ body }: Response): AsyncGenerator<{ readonly event: string; readonly data: string }> {
  const reader = body!.getReader()
  const decoder = new TextDecoder()
  let text = ''
  try {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      text += decoder.decode(value, { stream: true })
      const blocks = text.split('\n\n')
      text = blocks.pop()!
      if (text.length > UPDATE_CHARS_MAX) throw new RangeError('the update is too large')
      for (const block of blocks) {
        const field = (name: string): string =>
          block
            .split('\n')
            .find((line) => line.startsWith(`${name}: `))
            ?.slice(name.length + 2) ?? ''
        yield { event: field('event'), data: field('data') }
      }
    }
  } finally {
    reader.cancel().catch(() => {})
  }
}

/** The window of a page; in Node it has no events. */
const page = globalThis as unknown as Partial<EventTarget>

/** Resolves after `ms`, or earlier when the signal aborts or the browser is online again. */
function waitBeforeReconnect(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, signal.aborted ? 0 : ms)
    signal.addEventListener('abort', end)
    page.addEventListener?.('online', end)
    function end(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      page.removeEventListener?.('online', end)
      resolve()
    }
  })
}

function callSafely<T>(callback: (value: T) => void, value: T): void {
  try {
    callback(value)
  } catch (error) {
    console.error(error)
  }
}
