/** Writes small protobuf messages, for responses. A nested message is finished first, and then added by `bytes`. */
export class ProtobufWriter {
  readonly #bytes: number[] = []

  /** Writes an integer from 0 to 2^53. 0 is the default value and is omitted. */
  uint(field: number, value: number): this {
    if (value === 0) return this
    this.#varint(field << 3)
    this.#varint(value)
    return this
  }

  text(field: number, value: string): this {
    return value === '' ? this : this.bytes(field, new TextEncoder().encode(value))
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint((field << 3) | 2)
    this.#varint(value.length)
    for (const byte of value) this.#bytes.push(byte)
    return this
  }

  finish(): Uint8Array {
    return Uint8Array.from(this.#bytes)
  }

  #varint(value: number): void {
    let remaining = value
    for (; remaining >= 0x80; remaining = Math.floor(remaining / 0x80)) this.#bytes.push((remaining % 0x80) | 0x80)
    this.#bytes.push(remaining)
  }
}
