interface Entry<T> {
  readonly value: T
  readonly chars: number
}

/** Keeps what was used last, bounded by the length of the texts that it is made of. */
export class TextCache<T> {
  readonly #charsMax: number
  readonly #entries = new Map<string, Entry<T>>()
  #chars = 0

  constructor(charsMax: number) {
    this.#charsMax = charsMax
  }

  get(key: string): T | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.value
  }

  set(key: string, value: T, chars: number): void {
    this.#drop(key)
    this.#entries.set(key, { value, chars })
    this.#chars += chars
    for (const oldest of this.#entries.keys()) {
      if (this.#chars <= this.#charsMax) break
      this.#drop(oldest)
    }
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#chars -= entry.chars
  }
}
