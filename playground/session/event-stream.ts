/** Thrown if the connection ends before the event `complete`. */
export class StreamInterruptedError extends Error {}

/** Maximum silence of a connection. The gateway sends at least a keep-alive every 15 s. */
const SILENCE_MS_MAX = 45_000

/** Maximum length of one event. A live update has at most some megabytes. */
const EVENT_CHARS_MAX = 32 * 1024 * 1024

/**
 * Yields the parsed data of server-sent events, in the distinct connections mode of GraphQL over SSE. Throws
 * {@link StreamInterruptedError} if the connection is lost or silent for too long.
 */
export async function* readEvents<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await readInTime(reader).catch((cause: unknown) => {
        throw new StreamInterruptedError('the connection was lost', { cause })
      })
      if (done) throw new StreamInterruptedError('the stream ended before it was complete')
      const events = (text + decoder.decode(value, { stream: true })).split('\n\n')
      text = events.pop() ?? ''
      if (text.length > EVENT_CHARS_MAX) throw new Error('an event of the stream is too long')
      for (const event of events) {
        if (/^event: complete$/m.test(event)) return
        const json = /^data: (.+)$/m.exec(event)?.[1]
        if (json !== undefined) yield JSON.parse(json) as T
      }
    }
  } finally {
    // Not awaited: on a lost connection this may never resolve.
    void reader.cancel().catch(() => {})
  }
}

function readInTime(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<ReadableStreamReadResult<Uint8Array>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the gateway has been silent')), SILENCE_MS_MAX)
    reader
      .read()
      .finally(() => clearTimeout(timer))
      .then(resolve, reject)
  })
}
