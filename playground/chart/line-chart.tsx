import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import type { ChartLine } from './chart.ts'
import { type Columns, columnsOf } from './columns.ts'
import { plotOptions } from './plot-options.ts'
import { useTheme } from './theme.ts'
import { Tooltip } from './tooltip.tsx'

/**
 * Lines over time, drawn by uPlot. A chart is built anew when its lines or the theme change; new values only replace its
 * data. The arrow keys move the cursor, as the mouse does.
 */
export interface LineChartProps {
  readonly lines: readonly ChartLine[]
  readonly colours: ReadonlyMap<string, string>
  readonly hidden: ReadonlySet<string>
  readonly unit: string | null
  readonly timezone: string
  readonly height: number
  /** For people who cannot see it. */
  readonly description: string
  /** The line that the others fade behind. */
  readonly focused: string | undefined
  /** Called with a range that was selected by dragging. Without it, the chart zooms in. */
  readonly onRange?: ((fromMs: number, toMs: number) => void) | undefined
}

export interface CursorAt {
  readonly row: number
  readonly left: number
  readonly top: number
}

/** A shorter drag is a click. */
const DRAG_PX_MIN = 6

export function LineChart(props: LineChartProps) {
  const { lines, colours, hidden, unit, timezone, height, description, focused, onRange } = props
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const [cursor, setCursor] = useState<CursorAt | undefined>(undefined)
  const theme = useTheme()
  const columns = useMemo(() => columnsOf(lines), [lines])
  const latest = useRef({ columns, onRange })
  latest.current = { columns, onRange }
  // What the options depend on. Values are not part of it.
  const shape = JSON.stringify([theme, timezone, lines.map(({ id, label, comparedWith }) => [id, label, comparedWith])])

  useLayoutEffect(() => {
    const element = box.current
    if (element === null) return
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
        setCursor(idx === null || idx === undefined || left < 0 ? undefined : { row: idx, left, top }),
      onSelect: (made) => select(made, latest.current.onRange),
    })
    const made = new uPlot(options, dataOf(latest.current.columns), element)
    plot.current = made
    const observer = new ResizeObserver(() => {
      made.setSize({ width: Math.max(element.clientWidth, 1), height: made.height })
    })
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = undefined
      setCursor(undefined)
    }
  }, [shape])

  useLayoutEffect(() => plot.current?.setData(dataOf(columns)), [columns])
  useLayoutEffect(() => plot.current?.setSize({ width: plot.current.width, height }), [height])
  useLayoutEffect(() => {
    for (const [index, { id }] of lines.entries()) {
      const series = plot.current?.series[index + 1]
      if (series?.show === hidden.has(id)) plot.current?.setSeries(index + 1, { show: !hidden.has(id) })
    }
  }, [hidden, shape])
  useLayoutEffect(() => {
    const index = lines.findIndex(({ id }) => id === focused)
    plot.current?.setSeries(index < 0 ? null : index + 1, { focus: true })
  }, [focused, shape])

  const move = (event: KeyboardEvent): void => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    const times = columns[0]
    if (step === undefined || plot.current === undefined || times.length === 0) return
    event.preventDefault()
    const from = cursor?.row ?? (step < 0 ? times.length : -1)
    const row = Math.min(Math.max(from + step, 0), times.length - 1)
    const { over } = plot.current
    plot.current.setCursor({ left: plot.current.valToPos(times[row]!, 'x'), top: over.clientHeight / 3 })
  }
  const leave = (): void => plot.current?.setCursor({ left: -10, top: -10 })

  return (
    <div class="line-chart">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys move its cursor */}
      <div class="plot" ref={box} role="img" aria-label={description} tabIndex={0} onKeyDown={move} onBlur={leave} />
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

function dataOf(columns: Columns): uPlot.AlignedData {
  return columns.map((column) => [...column]) as unknown as uPlot.AlignedData
}

function select(plot: uPlot, onRange: LineChartProps['onRange']): void {
  const { left, width } = plot.select
  if (width < DRAG_PX_MIN) return
  const [fromMs, toMs] = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')]
  plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
  if (onRange === undefined) plot.setScale('x', { min: fromMs, max: toMs })
  else onRange(fromMs, toMs)
}
