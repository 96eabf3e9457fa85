import { readFile } from 'node:fs/promises'

/**
 * The tabs that GraphiQL opens with, in this order. Each is a file of `schema/examples`; a test requires that every
 * file there has a tab.
 */
const TAB_NAMES = [
  ...['chart', 'top', 'live', 'compare', 'dashboard', 'groups'],
  ...['distinct', 'filters', 'explore', 'events', 'track', 'track-batch'],
]

/** Reads the operation of each tab. */
export function readTabOperations(): Promise<readonly string[]> {
  // Resolves to the same file from `src` and from `dist`.
  return Promise.all(
    TAB_NAMES.map((name) => readFile(new URL(`../../../schema/examples/${name}.graphql`, import.meta.url), 'utf8')),
  )
}
