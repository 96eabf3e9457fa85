import { expect, it } from 'vitest'
import { ObjectPool } from '../../src/model/object-pool.ts'

class Buffers {
  readonly kind: string
  readonly allocatedBytes: number
  isCleared = false

  constructor(allocatedBytes: number, kind = 'a') {
    this.allocatedBytes = allocatedBytes
    this.kind = kind
  }

  clear(): void {
    this.isCleared = true
  }
}

it('gives cleared objects of the same kind', () => {
  const pool = new ObjectPool<Buffers>({ bytesMax: 100, objectBytesMax: 100 })
  const buffers = new Buffers(1)
  pool.giveBack(buffers)
  expect(buffers.isCleared).toBe(true)
  expect(() => pool.giveBack(buffers)).toThrow(/given back once/)
  expect(pool.take('b')).toBeUndefined()
  expect(pool.take('a')).toBe(buffers)
  expect(pool.take('a')).toBeUndefined()
})

it('limits the memory of one object and of all objects', () => {
  const pool = new ObjectPool<Buffers>({ bytesMax: 100, objectBytesMax: 50 })
  pool.giveBack(new Buffers(51))
  expect(pool.take('a')).toBeUndefined()
  const [first, second] = [new Buffers(50), new Buffers(40, 'b')]
  pool.giveBack(first)
  pool.giveBack(second)
  pool.giveBack(new Buffers(20))
  expect(pool.take('a')).toBe(first)
  pool.giveBack(new Buffers(20))
  expect([pool.take('a')?.allocatedBytes, pool.take('a')]).toEqual([20, undefined])
})

it('limits the number of objects of a kind', () => {
  const pool = new ObjectPool<Buffers>({ bytesMax: 1_000, objectBytesMax: 1_000 })
  for (let i = 0; i < 100; i++) pool.giveBack(new Buffers(1))
  let count = 0
  while (pool.take('a') !== undefined) count++
  expect(count).toBe(64)
})

it('gives the smallest object that is large enough, or else the largest', () => {
  const pool = new ObjectPool<Buffers>({ bytesMax: 1_000, objectBytesMax: 1_000 })
  for (const bytes of [30, 10, 40, 20]) pool.giveBack(new Buffers(bytes))
  expect(pool.take('a', 15)?.allocatedBytes).toBe(20)
  expect(pool.take('a', 100)?.allocatedBytes).toBe(40)
  expect(pool.take('a', 0)?.allocatedBytes).toBe(10)
  expect(pool.take('a', 30)?.allocatedBytes).toBe(30)
  expect(pool.take('a')).toBeUndefined()
})
