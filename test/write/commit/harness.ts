import { expect } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import { decoderOf, PROJECT, type TestPoint } from '../../support/engine.ts'

export const hit = (value = 1, tags: Readonly<Record<string, string>> = {}): TestPoint => ({
  name: 'hits',
  type: 'counter',
  value,
  tags,
})

export function track(writer: Writer, ...points: readonly TestPoint[]) {
  return writer.track(PROJECT, decoderOf(points))
}

export async function refusal(promise: Promise<unknown>): Promise<GatewayError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(outcome).toBeInstanceOf(GatewayError)
  return outcome as GatewayError
}

/** What fails now is looked at later. */
export function held<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}
/** Waits, a few milliseconds at a time, until something has become so. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await expect.poll(condition, { interval: 5, timeout: 5_000 }).toBe(true)
}
