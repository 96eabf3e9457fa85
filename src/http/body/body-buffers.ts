/**
 * Reuses the buffers of request bodies. A new buffer for each body would be garbage outside the JavaScript heap. V8
 * runs a full garbage collection after about 30 MB of such garbage, which is several times a second under load.
 */

/** Only bodies of these lengths are in reused buffers. Smaller bodies are not worth it, and larger ones are rare. */
const REUSED_BUFFER_BYTES_MIN = 8_192
const REUSED_BUFFER_BYTES_MAX = 1_048_576

/** Maximum total bytes of the buffers that are not in use. A buffer beyond it is left to the garbage collection. */
const UNUSED_BYTES_MAX = 4_194_304

export class BodyBuffers {
  /** Buffers that are not in use, by size. All sizes are powers of two. */
  readonly #unused = new Map<number, Buffer[]>()
  /** Buffers that hold a body, by their memory: `release` gets a part of the buffer, which has the same memory. */
  readonly #inUse = new WeakMap<ArrayBufferLike, Buffer>()
  #unusedBytes = 0

  /** Copies the chunks of a body into one buffer. The caller passes the result to `release` when it is done with it. */
  join(chunks: readonly Uint8Array[]): Buffer {
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    if (length < REUSED_BUFFER_BYTES_MIN || length > REUSED_BUFFER_BYTES_MAX) return Buffer.concat(chunks, length)
    const buffer = this.#take(length)
    let offset = 0
    for (const chunk of chunks) {
      buffer.set(chunk, offset)
      offset += chunk.length
    }
    return buffer.subarray(0, length)
  }

  /**
   * Ends the use of a body that `join` returned: its bytes must not be read any more. Does nothing if the body is not
   * in a reused buffer.
   */
  release({ buffer: memory }: Uint8Array): void {
    const buffer = this.#inUse.get(memory)
    if (buffer === undefined) return
    this.#inUse.delete(memory)
    if (this.#unusedBytes + buffer.length > UNUSED_BYTES_MAX) return
    this.#unusedBytes += buffer.length
    const sameSizeBuffers = this.#unused.get(buffer.length)
    if (sameSizeBuffers === undefined) this.#unused.set(buffer.length, [buffer])
    else sameSizeBuffers.push(buffer)
  }

  #take(length: number): Buffer {
    const size = 2 ** Math.ceil(Math.log2(length))
    let buffer = this.#unused.get(size)?.pop()
    if (buffer === undefined) buffer = Buffer.allocUnsafeSlow(size)
    else this.#unusedBytes -= size
    this.#inUse.set(buffer.buffer, buffer)
    return buffer
  }
}
