import type uPlot from 'uplot'
import type { ChartLine } from './chart.ts'
import type { Columns } from './columns.ts'
import { createDateTimeFormat, formatValue } from './format.ts'
import type { CursorPosition } from './line-chart.tsx'

/** Props of a tooltip that lists the values of the visible lines at the cursor: the greatest first, at most twelve. */
export interface TooltipProps {
  readonly plot: uPlot
  readonly cursor: CursorPosition
  readonly columns: Columns
  readonly lines: readonly (ChartLine & { readonly colour: string })[]
  readonly hidden: ReadonlySet<string>
  readonly unit: string | null
  readonly timezone: string
}

const TOOLTIP_ROWS_MAX = 12
const CURSOR_DISTANCE_PX = 14

export function Tooltip({ plot, cursor, columns, lines, hidden, unit, timezone }: TooltipProps) {
  const [times, ...values] = columns
  const timeMs = times[cursor.row]
  if (timeMs === undefined) return null
  const rows = lines
    .map((line, index) => ({ ...line, value: values[index]?.[cursor.row] ?? null }))
    .filter(({ id }) => !hidden.has(id))
    .sort((a, b) => (b.value ?? Number.NEGATIVE_INFINITY) - (a.value ?? Number.NEGATIVE_INFINITY))
  const shown = rows.slice(0, TOOLTIP_ROWS_MAX)
  const { over } = plot
  const isRight = cursor.left > over.clientWidth / 2
  const style = {
    top: `${over.offsetTop + 8}px`,
    ...(isRight
      ? { right: `calc(100% - ${over.offsetLeft + cursor.left - CURSOR_DISTANCE_PX}px)` }
      : { left: `${over.offsetLeft + cursor.left + CURSOR_DISTANCE_PX}px` }),
  }
  return (
    <div class="tooltip" style={style} role="status">
      <div class="tooltip-time">{createDateTimeFormat(timezone, leastStepMs(times))(timeMs)}</div>
      <table>
        <tbody>
          {shown.map(({ id, label, colour, comparedWith, value }) => (
            <tr key={id}>
              <td>
                <Swatch colour={colour} isDashed={comparedWith !== undefined} />
              </td>
              <th scope="row">{label}</th>
              <td class="number">{formatValue(value, unit)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > shown.length && <div class="tooltip-more">{rows.length - shown.length} more lines</div>}
    </div>
  )
}

export function Swatch({ colour, isDashed }: { readonly colour: string; readonly isDashed: boolean }) {
  return (
    <span
      class={isDashed ? 'swatch swatch-dashed' : 'swatch'}
      style={{ '--swatch': `var(${colour})` }}
      aria-hidden="true"
    />
  )
}

/** Returns the least distance between two neighbouring times; a second if there is only one time. */
function leastStepMs(times: readonly number[]): number {
  let step = Number.POSITIVE_INFINITY
  for (let row = 1; row < times.length; row++) step = Math.min(step, times[row]! - times[row - 1]!)
  return Number.isFinite(step) ? step : 1_000
}
