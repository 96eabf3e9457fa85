import { cp } from 'node:fs/promises'
import { onTestFinished } from 'vitest'
import type { Store } from '../../src/store/store.ts'
import { openStore } from './engine.ts'
import { FaultyStore, type FaultyStoreOptions } from './faulty-store.ts'
import { temporaryFolder } from './temporary-folder.ts'

/**
 * A real store that really forgets: the folder of an embedded store is copied while nobody writes, and the copy put in
 * its place later.
 */
export class ForgetfulStore {
  readonly faulty: FaultyStore
  #current: Store
  #folder: string
  #copy: string | undefined

  private constructor(folder: string, store: Store, options: FaultyStoreOptions) {
    this.#folder = folder
    this.#current = store
    this.faulty = new FaultyStore(store, { mayLoseWrites: true, ...options })
  }

  static async open(options: FaultyStoreOptions = {}): Promise<ForgetfulStore> {
    const folder = await temporaryFolder()
    const store = new ForgetfulStore(folder, await openStore(folder), options)
    onTestFinished(() => store.current.close())
    return store
  }

  /** The store as it is now, behind the line that may fail. */
  get current(): Store {
    return this.#current
  }

  /** What comes after this is what `forget` forgets. */
  async remember(): Promise<void> {
    const copy = await temporaryFolder()
    this.#copy = copy
    await this.faulty.inSilence(() =>
      cp(this.#folder, copy, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') }),
    )
  }

  /** Goes back to the last `remember`, which cannot be gone back to again. */
  async forget(): Promise<void> {
    const folder = this.#copy
    if (folder === undefined) throw new Error('there is nothing to go back to')
    this.#copy = undefined
    await this.faulty.inSilence(async () => {
      await this.#current.close()
      this.#folder = folder
      this.#current = await openStore(folder)
      this.faulty.replace(this.#current)
    })
  }
}
