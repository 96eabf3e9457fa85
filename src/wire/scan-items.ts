import { GatewayError } from '../model/errors.ts'
import type { ItemGrammar, MemoryEntry } from '../model/item-memory.ts'
import { checkInstant, type PointLimits, type PointSink, type SeriesRef } from '../model/point.ts'
import { StepBudget, type Steps } from '../model/steps.ts'
import { type ItemFraming, ItemScanner } from './item-scanner.ts'
import { parseJsonBodyInSteps } from './json-body.ts'

/**
 * The fast way through a batch: walks the bytes of the body once and takes from each item where its name, type and tags lie,
 * its value and its time, without building a string or an object. An item whose name, type and tags stood in an earlier item
 * byte by byte has its series from there; where items come in the order of an earlier batch, the walk is a comparison of bytes
 * around the value and the time. Everything else (an item seen for the first time, an escape, an odd number, an
 * unknown key) goes through the decoder of its dialect by itself, and a body that is not understood at all is left to be decoded
 * whole: this file may give up at any time, but it must never decide anything otherwise than the long way would.
 */

/** What an item costs besides its bytes, in units of a step, and what one costs that has to be parsed. */
const ITEM_UNITS = 64
const UNKNOWN_ITEM_UNITS = 512

export interface ScanRules<S extends SeriesRef> {
  readonly grammar: ItemGrammar
  readonly framing: ItemFraming
  readonly nowMs: number
  readonly limits: PointLimits
  readonly itemsMax: number
  /** Delivers an item the long way. Answers its series when it is a single point. */
  decode(item: unknown, index: number): Steps<S | undefined>
}

/**
 * Delivers the items of a batch and answers how many it had. Undefined: the body has to be decoded whole, and what was delivered
 * of it is void.
 */
export function* scanItems<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  rules: ScanRules<S>,
): Steps<number | undefined> {
  const { nowMs } = rules
  const budget = new StepBudget()
  let { memory } = sink
  const scanner = new ItemScanner(bytes, rules.grammar, rules.framing)
  if (!scanner.openItems()) return undefined
  let index = 0
  let previous: MemoryEntry<S> | undefined
  for (; scanner.nextItem(index === 0); index++) {
    if (index >= rules.itemsMax) return undefined
    const start = scanner.at
    const expected = previous?.following
    let entry = expected !== undefined && scanner.matches(expected.layout, nowMs) ? expected : undefined
    if (entry === undefined) {
      scanner.at = start
      if (scanner.readItem(nowMs)) {
        entry = memory.find(scanner.identity)
        if (entry !== undefined && (entry.layout === undefined || entry === expected)) {
          const layout = scanner.layout(start)
          if (layout !== undefined) memory.learn(entry, layout)
        }
      } else {
        scanner.at = start
        if (!scanner.skipObject()) return undefined
      }
    }
    const end = scanner.at
    if (!scanner.closeItem()) return undefined
    if (entry === undefined || !deliver(scanner, entry.series, sink, index, rules)) {
      const item = yield* parseItem(bytes.subarray(start, end))
      if (item === undefined) return undefined
      const series = yield* rules.decode(item, index)
      if (budget.spend(UNKNOWN_ITEM_UNITS)) yield
      if (entry === undefined && series !== undefined && scanner.isPlain)
        entry = memory.remember(scanner.identity, series)
    }
    if (previous !== undefined) previous.following = entry
    previous = entry
    if (budget.spend(ITEM_UNITS + end - start)) {
      yield
      if (sink.memory !== memory) {
        memory = sink.memory
        previous = undefined
      }
    }
  }
  return scanner.closeItems() ? index : undefined
}

/** Undefined: it is not JSON. The whole body is parsed then, so that the error has the position in it. */
function* parseItem(bytes: Uint8Array): Steps<unknown> {
  try {
    return yield* parseJsonBodyInSteps(bytes)
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

/** False: the item needs the long way, which knows why. */
function deliver<S extends SeriesRef>(
  { value, member, timeMs }: ItemScanner,
  series: S,
  sink: PointSink<S>,
  index: number,
  { grammar, nowMs, limits }: ScanRules<S>,
): boolean {
  if (checkInstant(timeMs, nowMs, limits) !== undefined) return false
  if (series.kind === 'set') {
    if (member === undefined || member.length > limits.setMemberCharsMax || !sink.reuse(series)) return false
    sink.addMember(index, series, timeMs, member)
  } else {
    if (member !== undefined || !Number.isFinite(value) || !sink.reuse(series)) return false
    if (grammar === 'better-stack' && series.kind === 'counter') sink.addTotal(index, series, timeMs, value)
    else sink.add(index, series, timeMs, value)
  }
  return true
}
