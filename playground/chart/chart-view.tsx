import { useMemo, useState } from 'preact/hooks'
import { Bars } from './bars.tsx'
import { CHART_LINES_MAX, type Chart } from './chart.ts'
import { Legend } from './legend.tsx'
import { LineChart } from './line-chart.tsx'
import { lineColours } from './line-colours.ts'

/** Props of a view with a line chart, its legend, and the totals of groups as bars. */
export interface ChartViewProps {
  readonly chart: Chart
  readonly timezone: string
  readonly height: number
  readonly onRange?: ((fromMs: number, toMs: number) => void) | undefined
}

export function ChartView({ chart, timezone, height, onRange }: ChartViewProps) {
  const { title, unit, bars } = chart
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set())
  const [focused, setFocused] = useState<string | undefined>(undefined)
  const lines = useMemo(() => chart.lines.slice(0, CHART_LINES_MAX), [chart])
  const colours = useMemo(() => lineColours(lines), [lines])
  const toggle = (id: string): void => {
    const next = new Set(hidden)
    if (!next.delete(id)) next.add(id)
    setHidden(next)
  }
  const description = `Line chart${title === '' ? '' : ` of ${title}`} with ${lines.length === 1 ? 'one line' : `${lines.length} lines`}. The numbers are in the table below; the arrow keys read values.`
  return (
    <>
      {lines.length > 0 && (
        <>
          <LineChart {...{ lines, colours, hidden, unit, timezone, height, description, focused, onRange }} />
          {chart.lines.length > lines.length && (
            <p class="note">
              The first {lines.length} of {chart.lines.length} lines.
            </p>
          )}
          <Legend {...{ lines, colours, hidden, unit }} onToggle={toggle} onFocus={setFocused} />
        </>
      )}
      {bars.length > 0 && (
        <div class="bar-lists">
          {bars.map((list) => (
            <Bars key={list.title} list={list} unit={list.title === 'count' ? null : unit} />
          ))}
        </div>
      )}
    </>
  )
}
