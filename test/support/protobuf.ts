/** Writes any protobuf message for tests: valid ones, and with `raw` any other. */
export class Message {
  readonly #parts: number[] = []

  varint(field: number, value: number | bigint): this {
    return this.#tag(field, 0).#varint(BigInt.asUintN(64, BigInt(value)))
  }

  sint(field: number, value: number | bigint): this {
    const signed = BigInt(value)
    return this.varint(field, signed < 0n ? -2n * signed - 1n : 2n * signed)
  }

  fixed64(field: number, value: number | bigint): this {
    const bytes = new DataView(new ArrayBuffer(8))
    bytes.setBigInt64(0, BigInt.asIntN(64, BigInt(value)), true)
    return this.#tag(field, 1).raw(new Uint8Array(bytes.buffer))
  }

  double(field: number, value: number): this {
    return this.#tag(field, 1).raw(doubles([value]))
  }

  bytes(field: number, value: Uint8Array | string | Message): this {
    const bytes =
      value instanceof Message ? value.finish() : typeof value === 'string' ? new TextEncoder().encode(value) : value
    return this.#tag(field, 2).#varint(BigInt(bytes.length)).raw(bytes)
  }

  packedDoubles(field: number, values: readonly number[]): this {
    return this.bytes(field, doubles(values))
  }

  packedFixed64(field: number, values: readonly (number | bigint)[]): this {
    const packed = new Message()
    for (const value of values) packed.fixed64(1, value)
    return this.bytes(
      field,
      packed.finish().filter((_, i) => i % 9 !== 0),
    )
  }

  packedVarints(field: number, values: readonly (number | bigint)[]): this {
    const packed = new Message()
    for (const value of values) packed.#varint(BigInt.asUintN(64, BigInt(value)))
    return this.bytes(field, packed)
  }

  packedSints(field: number, values: readonly number[]): this {
    return this.packedVarints(
      field,
      values.map((value) => (value < 0 ? -2 * value - 1 : 2 * value)),
    )
  }

  raw(bytes: Iterable<number>): this {
    for (const byte of bytes) this.#parts.push(byte)
    return this
  }

  finish(): Uint8Array {
    return Uint8Array.from(this.#parts)
  }

  #tag(field: number, wireType: number): this {
    return this.#varint(BigInt(field * 8 + wireType))
  }

  #varint(value: bigint): this {
    let rest = value
    for (; rest >= 0x80n; rest >>= 7n) this.#parts.push(Number(rest & 0x7fn) | 0x80)
    this.#parts.push(Number(rest))
    return this
  }
}

function doubles(values: readonly number[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8 * values.length))
  for (const [i, value] of values.entries()) bytes.setFloat64(8 * i, value, true)
  return new Uint8Array(bytes.buffer)
}
