/** A set of listeners. If a listener throws, `notify` throws the same error and does not call the remaining ones. */
export class Listeners<T> {
  readonly #listeners = new Set<(value: T) => void>()

  /** Adds a listener. The returned function removes it. */
  add(listener: (value: T) => void): () => void {
    // Wrapped in a new function, so that the same listener can be added twice.
    const wrapper = (value: T): void => listener(value)
    this.#listeners.add(wrapper)
    return () => {
      this.#listeners.delete(wrapper)
    }
  }

  notify(value: T): void {
    for (const listener of this.#listeners) listener(value)
  }
}
