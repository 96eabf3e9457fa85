import { onTestFinished } from 'vitest'
import { type EmbeddedStoreOptions, openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { Store } from '../../src/store/store.ts'
import {
  DAY,
  PARTITIONS,
  RECEIPTS_BYTES_MAX,
  RECEIPTS_MAX,
  RESOLUTION_STEPS,
  SET_RESOLUTION_STEPS,
} from '../store/contract/fixtures.ts'

/** Embedded stores with the settings of the store contract. */

export function optionsOf(folder: string, options: Partial<EmbeddedStoreOptions> = {}): EmbeddedStoreOptions {
  return {
    folder,
    partitions: PARTITIONS,
    resolutions: RESOLUTION_STEPS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: DAY })),
    setResolutions: SET_RESOLUTION_STEPS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: DAY })),
    receiptBounds: { receiptsMax: RECEIPTS_MAX, receiptsBytesMax: RECEIPTS_BYTES_MAX },
    ...options,
  }
}

/** Opens a store that is closed at the end of the test. */
export async function openFor(options: EmbeddedStoreOptions): Promise<Store> {
  const store = await openEmbeddedStore(options)
  onTestFinished(() => store.close())
  return store
}
