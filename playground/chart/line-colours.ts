import type { ChartLine } from './chart.ts'

/** Number of line colours, `--line-0` and so on. `styles/chart.css` and `styles/graphiql.css` define them per theme. */
const COLOUR_COUNT = 10

/**
 * Returns the name of the CSS variable of each line's colour, by line id. A line of the earlier range has the colour of
 * the line that it is compared with.
 */
export function lineColours(lines: readonly ChartLine[]): ReadonlyMap<string, string> {
  const colours = new Map<string, string>()
  let next = 0
  for (const { id, comparedWith, isRemainder } of lines) {
    if (comparedWith !== undefined) continue
    colours.set(id, isRemainder ? '--line-other' : `--line-${next++ % COLOUR_COUNT}`)
  }
  for (const { id, comparedWith } of lines) {
    if (comparedWith !== undefined) colours.set(id, colours.get(comparedWith) ?? '--line-other')
  }
  return colours
}
