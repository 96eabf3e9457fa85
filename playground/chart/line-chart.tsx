import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import type { ChartLine } from './chart.ts'
import { type Columns, columnsOf } from './columns.ts'
import { plotOptions } from './plot-options.ts'
import { useTheme } from './theme.ts'
import { Tooltip } from './tooltip.tsx'

/**
 * Props of a line chart, drawn by uPlot. The plot is created again when the lines, the time zone or the theme change;
 * new values only replace its data. The arrow keys move the cursor, as the mouse does.
 */
export interface LineChartProps {
  readonly lines: readonly ChartLine[]
  readonly colours: ReadonlyMap<string, string>
  readonly hidden: ReadonlySet<string>
  readonly unit: string | null
  readonly timezone: string
  readonly height: number
  /** Text for screen readers. */
  readonly description: string
  /** The `id` of the highlighted line; the other lines are faded. */
  readonly focused: string | undefined
  /** Called with a range that was selected by dragging. Without it, the chart zooms in. */
  readonly onRange?: ((fromMs: number, toMs: number) => void) | undefined
}

export interface CursorPosition {
  readonly row: number
  readonly left: number
  readonly top: number
}

/** Minimum width of a selection. A shorter drag counts as a click. */
const DRAG_PX_MIN = 6

export function LineChart(props: LineChartProps) {
  const { lines, colours, hidden, unit, timezone, height, description, focused, onRange } = props
  const container = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const [cursor, setCursor] = useState<CursorPosition | undefined>(undefined)
  const theme = useTheme()
  const columns = useMemo(() => columnsOf(lines), [lines])
  const latestOnRange = useRef(onRange)
  latestOnRange.current = onRange
  const optionsKey = optionsKeyOf(props, theme)

  useLayoutEffect(() => {
    const element = container.current
    if (element === null) return
    const newPlot = createPlot(element, props, columns, setCursor, (selected) =>
      applySelection(selected, latestOnRange.current),
    )
    plot.current = newPlot
    const observer = new ResizeObserver(() => {
      newPlot.setSize({ width: Math.max(element.clientWidth, 1), height: newPlot.height })
    })
    observer.observe(element)
    return () => {
      observer.disconnect()
      newPlot.destroy()
      plot.current = undefined
      setCursor(undefined)
    }
  }, [optionsKey])

  useLayoutEffect(() => plot.current?.setData(dataOf(columns)), [columns])
  useLayoutEffect(() => plot.current?.setSize({ width: plot.current.width, height }), [height])
  useLayoutEffect(() => {
    for (const [index, { id }] of lines.entries()) {
      const series = plot.current?.series[index + 1]
      if (series?.show === hidden.has(id)) plot.current?.setSeries(index + 1, { show: !hidden.has(id) })
    }
  }, [hidden, optionsKey])
  useLayoutEffect(() => {
    const index = lines.findIndex(({ id }) => id === focused)
    plot.current?.setSeries(index < 0 ? null : index + 1, { focus: true })
  }, [focused, optionsKey])

  const moveCursor = (event: KeyboardEvent): void => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    const times = columns[0]
    if (step === undefined || plot.current === undefined || times.length === 0) return
    event.preventDefault()
    const from = cursor?.row ?? (step < 0 ? times.length : -1)
    showCursorAt(plot.current, times[Math.min(Math.max(from + step, 0), times.length - 1)]!)
  }

  return (
    <div class="line-chart">
      <div
        class="plot"
        ref={container}
        role="img"
        aria-label={description}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys move its cursor
        tabIndex={0}
        onKeyDown={moveCursor}
        onBlur={() => plot.current && hideCursor(plot.current)}
      />
      {cursor !== undefined && plot.current !== undefined && (
        <Tooltip
          plot={plot.current}
          cursor={cursor}
          columns={columns}
          lines={lines.map((line) => ({ ...line, colour: colours.get(line.id) ?? '--line-other' }))}
          hidden={hidden}
          unit={unit}
          timezone={timezone}
        />
      )}
    </div>
  )
}

/** Everything that the options of a plot depend on. The values of the lines are not part of it. */
function optionsKeyOf({ lines, timezone }: LineChartProps, theme: string): string {
  return JSON.stringify([theme, timezone, lines.map(({ id, label, comparedWith }) => [id, label, comparedWith])])
}

function createPlot(
  element: HTMLElement,
  { lines, hidden, colours, timezone, height }: LineChartProps,
  columns: Columns,
  onCursor: (position: CursorPosition | undefined) => void,
  onSelect: (plot: uPlot) => void,
): uPlot {
  const style = getComputedStyle(element)
  const options = plotOptions({
    lines,
    hidden,
    colours,
    timezone,
    width: Math.max(element.clientWidth, 1),
    height,
    styleOf: (name) => style.getPropertyValue(name).trim(),
    onCursor: ({ cursor: { idx, left = -1, top = -1 } }) =>
      onCursor(idx === null || idx === undefined || left < 0 ? undefined : { row: idx, left, top }),
    onSelect,
  })
  return new uPlot(options, dataOf(columns), element)
}

function showCursorAt(plot: uPlot, time: number): void {
  plot.setCursor({ left: plot.valToPos(time, 'x'), top: plot.over.clientHeight / 3 })
}

function hideCursor(plot: uPlot): void {
  plot.setCursor({ left: -10, top: -10 })
}

function dataOf(columns: Columns): uPlot.AlignedData {
  return columns.map((column) => [...column]) as unknown as uPlot.AlignedData
}

function applySelection(plot: uPlot, onRange: LineChartProps['onRange']): void {
  const { left, width } = plot.select
  if (width < DRAG_PX_MIN) return
  const [fromMs, toMs] = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')]
  plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
  if (onRange === undefined) plot.setScale('x', { min: fromMs, max: toMs })
  else onRange(fromMs, toMs)
}
