import { expect, test } from 'vitest'
import { foldInbox } from '../../src/write/fold/fold.ts'
import { ask, decoderOf, FOLD_SETTINGS, PROJECT, T0_MS, totalOf } from '../support/engine.ts'
import { FaultyStore, respondWith } from '../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../support/test-writer.ts'

test.each([
  [3, 5],
  [4, 'stored blocks were replaced faster'],
])('a query that finds a block gone %i times', async (times, expected) => {
  const store = await openTestStore(1)
  const writer = openTestWriter(new FaultyStore(store))
  await writer.track(PROJECT, decoderOf([{ name: 'hits', type: 'counter', value: 5 }]))
  await foldInbox(store, 0, FOLD_SETTINGS, T0_MS)
  const faulty = new FaultyStore(store)
  faulty.next('readBlocks', ...Array.from({ length: times }, () => respondWith([undefined])))
  const outcome = await totalOf(faulty.store, 'hits', 'sum').catch((error: Error) => error.message)
  if (typeof expected === 'string') expect(outcome).toContain(expected)
  else expect(outcome).toBe(expected)
})

test.each([
  ['an earlier range', 'Europe/Berlin', { offset: '100y' }],
  ['the previous period', 'America/New_York', { previousPeriod: true }],
])('the clock changes of %s are searched in short steps', async (_what, timezone, compare) => {
  const store = await openTestStore(1)
  await openTestWriter(new FaultyStore(store)).track(PROJECT, decoderOf([{ name: 'hits', type: 'counter', value: 5 }]))
  const prototype = Intl.DateTimeFormat.prototype
  const original = Object.getOwnPropertyDescriptor(prototype, 'format')!
  let lookupCount = 0
  let lookupCountMax = 0
  let isOver = false
  const startIteration = (): void => {
    lookupCountMax = Math.max(lookupCountMax, lookupCount)
    lookupCount = 0
    if (!isOver) setImmediate(startIteration)
  }
  startIteration()
  Object.defineProperty(prototype, 'format', {
    ...original,
    get(this: Intl.DateTimeFormat) {
      lookupCount++
      // As slow as on a busy machine, so that each slice ends after few periods.
      for (const endMs = performance.now() + 0.02; performance.now() < endMs; );
      return original.get!.call(this)
    },
  })
  const range = { from: '1964-01-01', to: '2024-01-31', interval: '1mo' }
  const { comparison } = await ask(store, 'hits', { ...range, timezone, compare }).finally(() => {
    isOver = true
    Object.defineProperty(prototype, 'format', original)
  })
  await new Promise((resolve) => setImmediate(resolve))
  expect(comparison?.startMs).toHaveLength(721)
  expect(lookupCountMax).toBeGreaterThan(100)
  expect(lookupCountMax).toBeLessThan(1_000)
})
