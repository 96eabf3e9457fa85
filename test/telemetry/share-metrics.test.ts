import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { MessageToPrimary, MessageToWorker } from '../../src/telemetry/worker-messages.ts'
import { shareMetrics } from '../../src/telemetry/worker-metrics.ts'

/** In place of the channel between the processes: the messages that the worker sent, and how it gets others. */
const { sent, listeners } = vi.hoisted(() => ({
  sent: [] as MessageToPrimary[],
  listeners: [] as ((message: MessageToWorker) => void)[],
}))
vi.mock('../../src/telemetry/worker-messages.ts', () => ({
  sendToPrimary: async (message: MessageToPrimary) => void sent.push(message),
  onPrimaryMessage: (listener: (message: MessageToWorker) => void) => void listeners.push(listener),
}))

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('a response that comes after its request has timed out is not taken for that of the next request', async () => {
  const readAll = shareMetrics(async () => [])
  const respond = (requestIndex: number, text: string): void => {
    const request = sent[requestIndex]
    if (request?.kind !== 'readAll') throw new Error('nothing was requested')
    for (const listener of listeners) listener({ kind: 'all', requestId: request.requestId, text })
  }
  const first = expect(readAll()).rejects.toMatchObject({ code: 'overloaded' })
  await vi.advanceTimersByTimeAsync(5_000)
  await first
  const second = readAll()
  respond(0, 'old')
  respond(1, 'new')
  expect(await second).toBe('new')
})
