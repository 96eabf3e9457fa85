import type { ChartLine } from './chart.ts'

/** The colours of lines, from the style sheet, so that they follow the dark or light theme. */
const COLOURS = 10

/** The name of a style variable for each line, by its `id`. Compared lines have the colour of their line. */
export function coloursOf(lines: readonly ChartLine[]): ReadonlyMap<string, string> {
  const colours = new Map<string, string>()
  let next = 0
  for (const { id, label, comparedWith } of lines) {
    if (comparedWith !== undefined) continue
    colours.set(id, isRemainder(label) ? '--line-other' : `--line-${next++ % COLOURS}`)
  }
  for (const { id, comparedWith } of lines) {
    if (comparedWith !== undefined) colours.set(id, colours.get(comparedWith) ?? '--line-other')
  }
  return colours
}

/** The merged groups of `top`, whose label ends with `other`. */
function isRemainder(label: string): boolean {
  return /(?:^|· )other$/.test(label)
}
