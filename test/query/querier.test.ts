import { expect, test } from 'vitest'
import { foldInbox } from '../../src/write/fold/fold.ts'
import { decoderOf, FOLD_SETTINGS, PROJECT, T0_MS, totalOf } from '../support/engine.ts'
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
