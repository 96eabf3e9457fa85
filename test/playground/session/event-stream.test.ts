import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { readEvents, StreamInterruptedError } from '../../../playground/session/event-stream.ts'

function bodyOf(chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    },
  })
}

async function collect(body: ReadableStream<Uint8Array>): Promise<unknown[]> {
  const values: unknown[] = []
  for await (const value of readEvents(body)) values.push(value)
  return values
}

const STREAM = ':\n\nevent: next\ndata: {"a":"é"}\n\n:\n\nevent: next\ndata: {"a":2}\n\nevent: complete\ndata:\n\n'

describe('an event stream', () => {
  it('gives the same values wherever its bytes are cut', async () => {
    const bytes = new TextEncoder().encode(STREAM)
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(await collect(bodyOf([bytes.slice(0, cut), bytes.slice(cut)]))).toEqual([{ a: 'é' }, { a: 2 }])
    }
  })

  it('that ends before it is complete was cut', async () => {
    const bytes = new TextEncoder().encode(STREAM.slice(0, STREAM.indexOf('event: complete')))
    await expect(collect(bodyOf([bytes]))).rejects.toThrow(StreamInterruptedError)
  })

  it('that has been silent for longer than three keep-alives was cut', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const bytes = new TextEncoder().encode(':\n\n')
    let send: () => void = () => {}
    const silent = new ReadableStream<Uint8Array>({
      start: (controller) => void (send = () => controller.enqueue(bytes)),
    })
    const end = vi.fn()
    const ended = collect(silent).catch(end)
    for (let i = 0; i < 5; i++) {
      send()
      await vi.advanceTimersByTimeAsync(40_000)
    }
    expect(end).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(6_000)
    await ended
    expect(end).toHaveBeenCalledWith(expect.any(StreamInterruptedError))
  })

  it('that fails was cut', async () => {
    const failing = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new TypeError('gone')) })
    await expect(collect(failing)).rejects.toThrow(StreamInterruptedError)
  })
})
