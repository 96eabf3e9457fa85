import { onTestFinished } from 'vitest'
import type { Store } from '../../src/store/store.ts'
import type { Writer, WriterEvents, WriterSettings } from '../../src/write/commit/writer.ts'
import { openStore, openWriter } from './engine.ts'
import type { FaultyStore } from './faulty-store.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Stores and writers of one test. They are closed when it ends, the writers first. */

/** An empty embedded store. */
export async function openTestStore(partitions?: number): Promise<Store> {
  const store = await openStore(await temporaryFolder(), partitions)
  onTestFinished(() => store.close())
  return store
}

/** A writer on a store with faults, which end before the writer is closed. */
export function openTestWriter(
  faulty: FaultyStore,
  settings: Partial<WriterSettings> = {},
  events: Partial<WriterEvents> = {},
  now?: () => number,
): Writer {
  const writer = openWriter(faulty.store, settings, events, now)
  onTestFinished(async () => {
    faulty.heal()
    await writer.close()
  })
  return writer
}
