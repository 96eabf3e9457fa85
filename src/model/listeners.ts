/** Functions to be called with each value. One that throws fails its caller, so listeners that may fail must catch. */
export class Listeners<T> {
  readonly #listeners = new Set<(value: T) => void>()

  /** The returned function removes it. */
  add(listener: (value: T) => void): () => void {
    // A function of its own, so that the same listener may be added twice.
    const entry = (value: T): void => listener(value)
    this.#listeners.add(entry)
    return () => {
      this.#listeners.delete(entry)
    }
  }

  tell(value: T): void {
    for (const listener of this.#listeners) listener(value)
  }
}
