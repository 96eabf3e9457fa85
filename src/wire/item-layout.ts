import { type ItemGrammar, type ItemLayout, LAYOUT_BYTES_MAX } from '../model/item-cache.ts'

/** A range of positions; -1 if the item does not have the field. */
interface Range {
  readonly start: number
  readonly end: number
}

/** Shared by all calls of `createLayout`. The item cache copies the bytes that it keeps. */
const LAYOUT_BYTES = new Uint8Array(LAYOUT_BYTES_MAX)
const LAYOUT_VIEW = new DataView(LAYOUT_BYTES.buffer)

const VALUE_ALONE: ItemLayout['gapFields'] = ['value']
const VALUE_FIRST: ItemLayout['gapFields'] = ['value', 'time']
const TIME_FIRST: ItemLayout['gapFields'] = ['time', 'value']

/**
 * Returns the layout of an item: its bytes without the value and the time. Returns undefined if the item is too long to
 * cache. The next call overwrites the bytes of the layout.
 */
export function createLayout(
  grammar: ItemGrammar,
  bytes: Uint8Array,
  item: Range,
  value: Range,
  time: Range,
): ItemLayout | undefined {
  if (item.end - item.start > LAYOUT_BYTES_MAX) return undefined
  const gaps = time.start < 0 ? [value] : value.start < time.start ? [value, time] : [time, value]
  const segmentEnds: number[] = []
  let from = item.start
  let length = 0
  for (const end of [...gaps.map((gap) => gap.start), item.end]) {
    for (let i = from; i < end; i++) LAYOUT_BYTES[length++] = bytes[i]!
    from = gaps[segmentEnds.length]?.end ?? end
    segmentEnds.push(length)
  }
  const gapFields = time.start < 0 ? VALUE_ALONE : value.start < time.start ? VALUE_FIRST : TIME_FIRST
  return { grammar, view: LAYOUT_VIEW, start: 0, segmentEnds, gapFields }
}
