import { expect, it } from 'vitest'
import { readPaneSize, storePaneSize } from '../../../playground/graphiql/pane-size.ts'

it('the size of the pane is remembered', () => {
  const stored = new Map<string, string>()
  storePaneSize({ setItem: (name, value) => stored.set(name, value) }, { isOpen: false, heightPx: 500 })
  expect(readPaneSize({ getItem: (name) => stored.get(name) ?? null })).toEqual({ isOpen: false, heightPx: 500 })
})

it.each([
  [null, { isOpen: true, heightPx: 360 }],
  ['{', { isOpen: true, heightPx: 360 }],
  ['null', { isOpen: true, heightPx: 360 }],
  ['{"isOpen":"no","heightPx":"big"}', { isOpen: true, heightPx: 360 }],
  ['{"heightPx":1}', { isOpen: true, heightPx: 120 }],
  ['{"heightPx":1e9}', { isOpen: true, heightPx: 1_200 }],
])('%s in the storage gives %j', (text, size) => {
  expect(readPaneSize({ getItem: () => text })).toEqual(size)
})
