import { expect, test } from 'vitest'
import { runAtOnce } from '../../src/model/steps.ts'
import { compileFilters } from '../../src/query/plan/tag-filter.ts'
import { decodeBetterStackItem } from '../../src/wire/better-stack.ts'
import { decodeFluxItem } from '../../src/wire/flux.ts'
import { decodeFluxEvent } from '../../src/wire/flux-events.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'

/** Limits count characters as people do: one outside of the basic plane is two code units, and one character. */

const NOW_MS = Date.UTC(2024, 0, 15, 12)
const LIMITS = { points: DEFAULT_POINT_LIMITS, eventBytesMax: 100_000 }

type Judge = (item: object) => string | undefined
const flux: Judge = (item) => {
  const { sink, errors } = createRecordingSink('shop')
  decodeFluxItem({ name: 'n', type: 'gauge', value: 1, ...item }, 0, sink, NOW_MS, DEFAULT_POINT_LIMITS)
  return errors[0]?.code
}
const betterStack: Judge = (item) => {
  const { sink, errors } = createRecordingSink('shop')
  const options = { nowMs: NOW_MS, limits: DEFAULT_POINT_LIMITS, onUnreadableTime: () => {} }
  runAtOnce(decodeBetterStackItem({ name: 'n', gauge: { value: 1 }, ...item }, 0, sink, options))
  return errors[0]?.code
}
const event: Judge = (item) => {
  const read = decodeFluxEvent({ name: 'n', ...item }, NOW_MS, LIMITS)
  return 'code' in read ? read.code : undefined
}
const glob: Judge = (filter) => {
  try {
    compileFilters(new Map(), [{ key: 'k', ...filter }])
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

test.each<[string, Judge, number, (text: string) => object, string]>([
  ['a name', flux, 255, (name) => ({ name }), 'missing_name'],
  ['a name', betterStack, 255, (name) => ({ name }), 'missing_name'],
  ['a name', event, 255, (name) => ({ name }), 'missing_name'],
  ['a tag key', flux, 128, (key) => ({ tags: { [key]: 'v' } }), 'invalid_tags'],
  ['a tag key', betterStack, 128, (key) => ({ tags: { [key]: 'v' } }), 'invalid_tags'],
  ['a tag key', event, 128, (key) => ({ tags: { [key]: 'v' } }), 'invalid_tags'],
  ['a tag value', flux, 256, (value) => ({ tags: { k: value } }), 'invalid_tags'],
  ['a tag value', betterStack, 256, (value) => ({ tags: { k: value } }), 'invalid_tags'],
  ['a tag value', event, 256, (value) => ({ tags: { k: value } }), 'invalid_tags'],
  ['a namespace', betterStack, 256, (namespace) => ({ namespace }), 'invalid_tags'],
  ['a member', flux, 1_024, (value) => ({ type: 'set', value }), 'invalid_value'],
  ['a member', betterStack, 1_024, (value) => ({ gauge: null, set: { values: [value] } }), 'invalid_value'],
  ['a user', event, 256, (user_id) => ({ user_id }), 'invalid_value'],
  ['a glob', glob, 256, (text) => ({ glob: text }), 'invalid_tags'],
])('%s has a limit in characters, not code units (row %#)', (_, judge, max, item, code) => {
  for (const character of ['x', 'é', '😀']) {
    expect(judge(item(character.repeat(max)))).toBe(undefined)
    expect(judge(item(character.repeat(max + 1)))).toBe(code)
  }
})

test('what is no Unicode is refused wherever two texts would become one in UTF-8', () => {
  const broken = 'a\ud800'
  for (const judge of [flux, betterStack, event]) {
    expect(judge({ name: broken })).toBe('missing_name')
    expect(judge({ tags: { [broken]: 'v' } })).toBe('invalid_tags')
    expect(judge({ tags: { k: broken } })).toBe('invalid_tags')
  }
  expect(betterStack({ tags: { k: [broken] } })).toBe('invalid_tags')
  expect(betterStack({ namespace: broken })).toBe('invalid_tags')
  expect(betterStack({ gauge: null, set: { values: [broken] } })).toBe('invalid_value')
  expect(flux({ type: 'set', value: broken })).toBe('invalid_value')
  expect(event({ user_id: broken })).toBe('invalid_value')
})

test('unit and description are cut between characters', () => {
  const { sink } = createRecordingSink('shop')
  const about: unknown[] = []
  const resolve: typeof sink.resolve = (name, type, pairs, given) => {
    about.push(given)
    return sink.resolve(name, type, pairs, given)
  }
  const item = { name: 'n', type: 'gauge', value: 1, unit: `x${'😀'.repeat(100)}`, description: '😀'.repeat(2_000) }
  decodeFluxItem(item, 0, { ...sink, resolve }, NOW_MS, DEFAULT_POINT_LIMITS)
  expect(about).toEqual([{ unit: `x${'😀'.repeat(63)}`, description: '😀'.repeat(1_024) }])
})
