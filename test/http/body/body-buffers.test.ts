import { describe, expect, it } from 'vitest'
import { BodyBuffers } from '../../../src/http/body/body-buffers.ts'

const KIB = 1_024
const MIB = KIB * KIB

function chunk(length: number, byte: number): Buffer {
  return Buffer.alloc(length, byte)
}

describe('the buffers of bodies', () => {
  it.each([
    ['nothing', []],
    ['one small chunk', [10]],
    ['many small chunks', [1, 2, 3, 4_000, 5]],
    ['a common body', [65_536, 30_000]],
    ['exactly a power of two', [65_536, 65_536]],
    ['a large body', [MIB, 1]],
  ])('join %s', (_, lengths) => {
    const chunks = lengths.map((length, i) => chunk(length, i + 1))
    const buffers = new BodyBuffers()
    for (let i = 0; i < 3; i++) {
      const body = buffers.join(chunks)
      expect(body.equals(Buffer.concat(chunks))).toBe(true)
      buffers.release(body)
    }
  })

  it('are not shared by bodies that are in use at the same time', () => {
    const buffers = new BodyBuffers()
    const bodies = Array.from({ length: 20 }, (_, i) => buffers.join([chunk(50 * KIB, i)]))
    for (const [i, body] of bodies.entries()) expect(body.every((byte) => byte === i)).toBe(true)
  })

  it('are reused when they are released, once each', () => {
    const buffers = new BodyBuffers()
    const first = buffers.join([chunk(40 * KIB, 1)])
    buffers.release(first)
    buffers.release(first)
    const second = buffers.join([chunk(50 * KIB, 2)])
    expect(second.buffer).toBe(first.buffer)
    expect(buffers.join([chunk(50 * KIB, 3)]).buffer).not.toBe(second.buffer)
    expect(second.every((byte) => byte === 2)).toBe(true)
  })

  it('take no memory that belongs to others', () => {
    const buffers = new BodyBuffers()
    const foreign = chunk(64 * KIB, 1)
    buffers.release(foreign)
    expect(buffers.join([chunk(64 * KIB, 2)]).buffer).not.toBe(foreign.buffer)
    const small = buffers.join([chunk(100, 1)])
    buffers.release(small)
    expect(buffers.join([chunk(100, 2)])).not.toBe(small)
  })

  it('keep at most 4 MiB that are not in use', () => {
    const buffers = new BodyBuffers()
    const bodies = Array.from({ length: 10 }, () => buffers.join([chunk(MIB, 0)]))
    const memory = new Set(bodies.map(({ buffer }) => buffer))
    for (const body of bodies) buffers.release(body)
    const again = Array.from({ length: 10 }, () => buffers.join([chunk(MIB, 0)]))
    expect(again.filter(({ buffer }) => memory.has(buffer))).toHaveLength(4)
  })
})
