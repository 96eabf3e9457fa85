import uPlot from 'uplot'
import type { ChartLine } from './chart.ts'
import { isolatedRows } from './columns.ts'
import { createTickFormat, formatNumber, supportedZone } from './format.ts'

/** The input from which {@link plotOptions} builds the options of uPlot. */
export interface PlotOptions {
  readonly lines: readonly ChartLine[]
  readonly hidden: ReadonlySet<string>
  /** CSS variables of line colours, by line id. */
  readonly colours: ReadonlyMap<string, string>
  readonly timezone: string
  readonly width: number
  readonly height: number
  /** Returns the value of a CSS variable. */
  styleOf(name: string): string
  onCursor(plot: uPlot): void
  /** Called after a range was selected by dragging. */
  onSelect(plot: uPlot): void
}

const FONT = '12px system-ui, sans-serif'
const TICK_WIDTH_PX_MIN = 70
const TICK_HEIGHT_PX_MIN = 36
/** A chart with more lines than this draws all of them thin. */
const WIDE_LINES_MAX = 8

export function plotOptions(options: PlotOptions): uPlot.Options {
  const { lines, timezone, width, height, styleOf, onCursor, onSelect } = options
  const zone = supportedZone(timezone)
  return {
    width,
    height,
    ms: 1,
    padding: [12, 22, 0, 0],
    tzDate: (timeMs) => uPlot.tzDate(new Date(timeMs), zone),
    legend: { show: false },
    cursor: {
      drag: { x: true, y: false, setScale: false },
      focus: { prox: 24 },
      points: { size: 7, width: 2, fill: () => styleOf('--surface') },
    },
    focus: { alpha: 0.25 },
    scales: { x: { time: true } },
    axes: axesOf(zone, styleOf),
    series: [{}, ...lines.map((line) => seriesOf(line, options))],
    hooks: { setCursor: [onCursor], setSelect: [onSelect] },
  }
}

function axesOf(zone: string, styleOf: (name: string) => string): uPlot.Axis[] {
  const common = {
    font: FONT,
    stroke: () => styleOf('--muted'),
    grid: { stroke: () => styleOf('--grid'), width: 1 },
    ticks: { show: false },
  }
  const times: uPlot.Axis.DynamicValues = (_plot, ticks, _axis, _space, distanceMs) => {
    const format = createTickFormat(zone, distanceMs)
    return ticks.map(format)
  }
  return [
    { ...common, space: TICK_WIDTH_PX_MIN, grid: { show: false }, values: times, gap: 6, size: 34 },
    {
      ...common,
      space: TICK_HEIGHT_PX_MIN,
      gap: 8,
      values: (_plot, ticks) => ticks.map(formatNumber),
      size: (plot, labels) => widthOf(plot, labels) + 18,
    },
  ]
}

/** Returns the width of the label with the most characters, in CSS pixels. */
function widthOf({ ctx }: uPlot, labels: readonly string[] | null): number {
  const widest = (labels ?? []).reduce((a, b) => (b.length > a.length ? b : a), '')
  if (widest === '') return 24
  ctx.save()
  ctx.font = FONT
  const { width } = ctx.measureText(widest)
  ctx.restore()
  return Math.ceil(width)
}

function seriesOf(line: ChartLine, { lines, hidden, colours, styleOf }: PlotOptions): uPlot.Series {
  const variable = colours.get(line.id) ?? '--line-other'
  const colour = (): string => styleOf(variable)
  const isCompared = line.comparedWith !== undefined
  const isWide = lines.length <= WIDE_LINES_MAX && !isCompared
  return {
    label: line.label,
    show: !hidden.has(line.id),
    stroke: colour,
    width: isWide ? 2 : 1.25,
    ...(isCompared && { dash: [6, 4] }),
    ...(lines.length === 1 && { fill: () => translucent(colour()) }),
    spanGaps: false,
    points: {
      size: 5,
      stroke: colour,
      fill: colour,
      filter: (plot, index) => [...isolatedRows([...(plot.data[index] ?? [])])],
    },
  }
}

/** Returns a translucent colour for the area below a line. A colour that is not `#rrggbb` gives a transparent area. */
function translucent(colour: string): string {
  return /^#[0-9a-f]{6}$/i.test(colour) ? `${colour}1f` : 'transparent'
}
