import { expect, test } from 'vitest'
import { ItemCache, type ItemIdentity, type ItemLayout } from '../../src/model/item-cache.ts'
import { measureHeld } from '../support/held-memory.ts'

/** An item of some series, as a decoder sees it. */
function itemOf(series: number): { readonly identity: ItemIdentity; readonly layout: ItemLayout } {
  const name = '"http.requests.total"'
  const type = '"counter"'
  const tags = `{"endpoint":"/api/v1/r${series % 50}","host":"web-${String(series).padStart(6, '0')}"}`
  const text = `{"name":${name},"type":${type},"tags":${tags},"value":,"timestamp":""}`
  const view = new DataView(new TextEncoder().encode(text).buffer)
  const spanOf = (part: string) => {
    const start = text.indexOf(part)
    return [start, start + part.length] as const
  }
  const [nameStart, nameEnd] = spanOf(name)
  const [typeStart, typeEnd] = spanOf(type)
  const [tagsStart, tagsEnd] = spanOf(tags)
  return {
    identity: { view, nameStart, nameEnd, typeStart, typeEnd, tagsStart, tagsEnd },
    layout: {
      grammar: 'flux',
      view,
      start: 0,
      segmentEnds: [text.length - 18, text.length - 2, text.length],
      gapFields: ['value', 'time'],
    },
  }
}

function remember(memory: ItemCache<number>, from: number, to: number): void {
  for (let series = from; series < to; series++) {
    const { identity, layout } = itemOf(series)
    memory.keepLayout(memory.add(identity, series), layout)
  }
}

test('the counted bytes match the memory used within 30 %', () => {
  const { held, bytes } = measureHeld(() => {
    const memory = new ItemCache<number>(1e9)
    remember(memory, 0, 20_000)
    return memory
  })
  expect(bytes / held.estimatedBytes).toBeLessThan(1.3)
  expect(bytes / held.estimatedBytes).toBeGreaterThan(1 / 1.3)
})

test('every item is found again, with its layout, across many buffers', () => {
  const memory = new ItemCache<number>(1e9)
  remember(memory, 0, 2_000)
  for (const series of [0, 1, 999, 1_999]) {
    const { identity, layout } = itemOf(series)
    const found = memory.find(identity)
    expect(found?.series).toBe(series)
    const { view, start, segmentEnds } = found!.layout!
    expect([...segmentEnds]).toEqual([...layout.segmentEnds])
    const length = segmentEnds.at(-1)!
    expect(Buffer.from(view.buffer, view.byteOffset + start, length)).toEqual(
      Buffer.from(layout.view.buffer, 0, length),
    )
  }
  expect(memory.find(itemOf(2_000).identity)).toBeUndefined()
})

test('is emptied when its bytes are used up', () => {
  const memory = new ItemCache<number>(100_000)
  remember(memory, 0, 2_000)
  expect(memory.estimatedBytes).toBeLessThanOrEqual(100_000)
  expect(memory.find(itemOf(0).identity)).toBeUndefined()
  expect(memory.find(itemOf(1_999).identity)?.series).toBe(1_999)
})

/** Counts the words that are read from all of its instances. */
class CountingView extends DataView<ArrayBuffer> {
  static reads = 0
  override getInt32(offset: number, isLittleEndian?: boolean): number {
    CountingView.reads++
    return super.getInt32(offset, isLittleEndian)
  }
}

const COLLIDING_PAIRS = 12

/**
 * One of 4,096 items with equal hashes, whatever the seed is. The key consists of pairs of words. A changed highest bit
 * of the first word of a pair changes one bit of the hash, and the second word of the pair changes it back.
 */
function collidingItem(number: number): ItemIdentity {
  const view = new CountingView(new ArrayBuffer(COLLIDING_PAIRS * 8))
  for (let pair = 0; pair < COLLIDING_PAIRS; pair++) {
    if (((number >> pair) & 1) === 0) continue
    view.setInt32(pair * 8, 1 << 31, true)
    view.setInt32(pair * 8 + 4, 1 << 12, true)
  }
  return { view, nameStart: 0, nameEnd: view.byteLength, typeStart: 0, typeEnd: 0, tagsStart: 0, tagsEnd: 0 }
}

test('a look-up compares few items, even if all items have the same hash', () => {
  const memory = new ItemCache<number>(1e9)
  for (let number = 0; number < 4_000; number++) memory.add(collidingItem(number), number)
  CountingView.reads = 0
  expect(memory.find(collidingItem(4_000))).toBeUndefined()
  expect(CountingView.reads).toBeLessThan(1_000)
  expect(memory.find(collidingItem(3_999))?.series).toBe(3_999)
  expect(memory.size).toBeLessThanOrEqual(16)
})
