import { expect, it } from 'vitest'
import { isReadOnly } from '../../../playground/graphiql/is-read-only.ts'

it.each([
  ['{ viewer { project } }', true],
  ['query Q { viewer { project } }', true],
  ['subscription { live(metric: "a") { kind } }', true],
  ['mutation { deleteMetric(name: "a") }', false],
  ['# harmless\nmutation{deleteMetric(name:"a")}', false],
  ['query Q { viewer { project } } mutation M { deleteMetric(name: "a") }', false],
  ['fragment F on Viewer { project } mutation M { deleteMetric(name: "a") }', false],
  ['"mutation" { viewer { project } }', false],
])('%s may run without a click: %s', (operation, expected) => {
  expect(isReadOnly(operation)).toBe(expected)
})
