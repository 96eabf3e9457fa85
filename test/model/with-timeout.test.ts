import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { withTimeout } from '../../src/model/with-timeout.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

const never = (): Promise<string> => new Promise(() => {})

describe('work with a time limit', () => {
  it('returns its result and leaves no timer behind', async () => {
    expect(await withTimeout(100, async () => 'result')).toBe('result')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('rejects with its own error', async () => {
    await expect(withTimeout(100, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('rejects with store_unavailable when it takes longer', async () => {
    const result = expect(withTimeout(100, never)).rejects.toMatchObject({ code: 'store_unavailable' })
    await vi.advanceTimersByTimeAsync(100)
    await result
  })

  it('returns what onTimeout returns when it takes longer', async () => {
    const result = withTimeout(100, never, () => 'late')
    await vi.advanceTimersByTimeAsync(100)
    expect(await result).toBe('late')
  })

  it('may fail after the time limit without an unhandled rejection', async () => {
    let fail = (_error: Error): void => {}
    const work = (): Promise<string> => new Promise((_, reject) => (fail = reject))
    const result = withTimeout(100, work, () => 'late')
    await vi.advanceTimersByTimeAsync(100)
    fail(new Error('too late'))
    expect(await result).toBe('late')
  })
})
