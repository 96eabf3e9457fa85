import type { ChartLine } from './chart.ts'

/** Number of line colours. `styles/chart.css` and `styles/graphiql.css` define them as `--line-0` …, for each theme. */
const COLOUR_COUNT = 10

/**
 * Returns the CSS variable of each line's colour, by line id. A comparison has the colour of the line it belongs to.
 */
export function lineColours(lines: readonly ChartLine[]): ReadonlyMap<string, string> {
  const colours = new Map<string, string>()
  let next = 0
  for (const { id, label, comparedWith } of lines) {
    if (comparedWith !== undefined) continue
    colours.set(id, isRemainder(label) ? '--line-other' : `--line-${next++ % COLOUR_COUNT}`)
  }
  for (const { id, comparedWith } of lines) {
    if (comparedWith !== undefined) colours.set(id, colours.get(comparedWith) ?? '--line-other')
  }
  return colours
}

/** Whether a line is the remainder of `top`: all other groups, merged. Its label ends with `other`. */
function isRemainder(label: string): boolean {
  return /(?:^|· )other$/.test(label)
}
