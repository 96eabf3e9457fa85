/**
 * The series of items by their bytes. The bytes of name, type and tags of an item repeat from batch to batch, so a decoder that
 * remembers them finds the series of a known item without building a string. A hash finds the entry, and every byte is compared
 * before it is trusted. Bounded: when it is full it starts anew.
 */

/** Where the identity of an item lies in a body. Filled in again for each item. */
export interface ItemIdentity {
  bytes: Uint8Array
  nameStart: number
  nameEnd: number
  typeStart: number
  typeEnd: number
  tagsStart: number
  tagsEnd: number
  /** Over all three, made with `mixHash`. */
  hash: number
}

interface Entry<S> {
  readonly hash: number
  readonly key: Uint8Array
  readonly nameLength: number
  readonly typeLength: number
  readonly value: S
  readonly next: Entry<S> | undefined
}

const BUCKETS_MIN = 1_024

export class ItemMemory<S> {
  readonly #bytesMax: number
  #buckets: (Entry<S> | undefined)[] = new Array<Entry<S> | undefined>(BUCKETS_MIN).fill(undefined)
  #size = 0
  #bytes = 0

  /** `bytesMax` bounds the remembered bytes and their entries together. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get size(): number {
    return this.#size
  }

  find(item: ItemIdentity): S | undefined {
    let entry = this.#buckets[item.hash & (this.#buckets.length - 1)]
    while (entry !== undefined) {
      if (entry.hash === item.hash && isSame(entry, item)) return entry.value
      entry = entry.next
    }
    return undefined
  }

  remember(item: ItemIdentity, value: S): void {
    const { bytes, nameStart, nameEnd, typeStart, typeEnd, tagsStart, tagsEnd, hash } = item
    const nameLength = nameEnd - nameStart
    const typeLength = typeEnd - typeStart
    const key = new Uint8Array(nameLength + typeLength + tagsEnd - tagsStart)
    key.set(bytes.subarray(nameStart, nameEnd))
    key.set(bytes.subarray(typeStart, typeEnd), nameLength)
    key.set(bytes.subarray(tagsStart, tagsEnd), nameLength + typeLength)
    if (this.#bytes + key.length + ENTRY_BYTES > this.#bytesMax) this.#clear()
    if (this.#size >= this.#buckets.length) this.#grow()
    const at = hash & (this.#buckets.length - 1)
    this.#buckets[at] = { hash, key, nameLength, typeLength, value, next: this.#buckets[at] }
    this.#size++
    this.#bytes += key.length + ENTRY_BYTES
  }

  #clear(): void {
    this.#buckets = new Array<Entry<S> | undefined>(BUCKETS_MIN).fill(undefined)
    this.#size = 0
    this.#bytes = 0
  }

  #grow(): void {
    const old = this.#buckets
    this.#buckets = new Array<Entry<S> | undefined>(old.length * 2).fill(undefined)
    for (let entry of old) {
      for (; entry !== undefined; entry = entry.next) {
        const at = entry.hash & (this.#buckets.length - 1)
        this.#buckets[at] = { ...entry, next: this.#buckets[at] }
      }
    }
  }
}

/** What an entry takes besides its key, about. */
const ENTRY_BYTES = 160

export const HASH_SEED = 0x811c9dc5 | 0

/** FNV-1a, one byte. A chosen collision costs a comparison, never a wrong series. */
export function mixHash(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193)
}

function isSame<S>({ key, nameLength, typeLength }: Entry<S>, item: ItemIdentity): boolean {
  const { bytes, nameStart, typeStart, tagsStart } = item
  if (item.nameEnd - nameStart !== nameLength || item.typeEnd - typeStart !== typeLength) return false
  const tagsLength = item.tagsEnd - tagsStart
  if (nameLength + typeLength + tagsLength !== key.length) return false
  let at = 0
  for (let i = 0; i < nameLength; i++) if (key[at++] !== bytes[nameStart + i]) return false
  for (let i = 0; i < typeLength; i++) if (key[at++] !== bytes[typeStart + i]) return false
  for (let i = 0; i < tagsLength; i++) if (key[at++] !== bytes[tagsStart + i]) return false
  return true
}
