import { assert } from './errors.ts'

/** An object with large buffers, which it keeps when it is cleared. Objects of one kind can replace each other. */
export interface PooledObject {
  readonly kind?: string
  /** Approximate memory of the object, with capacity that is not in use. */
  readonly allocatedBytes: number
  /** Removes the contents of the object. */
  clear(): void
}

interface ObjectPoolLimits {
  /** Maximum memory of all objects in the pool. */
  readonly bytesMax: number
  /** Maximum memory of one object in the pool, so that a few large objects leave room for others. */
  readonly objectBytesMax: number
}

/** Maximum number of objects of one kind in a pool. */
const OBJECTS_PER_KIND_MAX = 64

/**
 * Keeps objects for reuse. What counts for its limits is the memory that an object has allocated, not how much of it
 * was in use: an object that is almost empty may have large buffers.
 */
export class ObjectPool<T extends PooledObject> {
  readonly #limits: ObjectPoolLimits
  /** By kind, the smallest objects first. */
  readonly #freeObjects = new Map<string | undefined, T[]>()
  #bytes = 0

  constructor(limits: ObjectPoolLimits) {
    this.#limits = limits
  }

  /**
   * Takes an empty object of this kind out of the pool: the smallest that has allocated `bytesMin`, or else the
   * largest. So one object grows, and not one after the other. Undefined if the pool has no object of this kind.
   */
  take(kind?: string, bytesMin = Number.POSITIVE_INFINITY): T | undefined {
    const sameKind = this.#freeObjects.get(kind)
    if (sameKind === undefined || sameKind.length === 0) return undefined
    const index = indexOfSize(sameKind, bytesMin)
    const [object] = sameKind.splice(Math.min(index, sameKind.length - 1), 1)
    this.#bytes -= object!.allocatedBytes
    return object
  }

  /** Clears an object, and keeps it if the limits allow it. The caller must not use the object afterwards. */
  giveBack(object: T): void {
    let sameKind = this.#freeObjects.get(object.kind)
    if (sameKind === undefined) this.#freeObjects.set(object.kind, (sameKind = []))
    assert(!sameKind.includes(object), 'an object is given back once')
    object.clear()
    const { allocatedBytes } = object
    const { bytesMax, objectBytesMax } = this.#limits
    if (allocatedBytes > objectBytesMax || this.#bytes + allocatedBytes > bytesMax) return
    if (sameKind.length >= OBJECTS_PER_KIND_MAX) return
    this.#bytes += allocatedBytes
    sameKind.splice(indexOfSize(sameKind, allocatedBytes), 0, object)
  }
}

/** The index of the first object that has allocated `bytesMin`; the number of objects if there is none. */
function indexOfSize(ascending: readonly PooledObject[], bytesMin: number): number {
  const index = ascending.findIndex(({ allocatedBytes }) => allocatedBytes >= bytesMin)
  return index === -1 ? ascending.length : index
}
