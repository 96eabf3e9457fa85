/** The connection ended before the gateway said that the stream is complete. */
export class StreamCut extends Error {}

/** A live update has at most some megabytes. */
const EVENT_CHARS_MAX = 32 * 1024 * 1024

/** Values of server-sent events, in the distinct connections mode of GraphQL over SSE. Throws {@link StreamCut}. */
export async function* readEvents<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw new StreamCut('the connection was lost', { cause })
      })
      if (done) throw new StreamCut('the stream ended before it was complete')
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
    await reader.cancel().catch(() => {})
  }
}
