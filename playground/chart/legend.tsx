import type { ChartLine } from './chart.ts'
import { formatValue } from './format.ts'
import { Swatch } from './tooltip.tsx'

/** Props of the legend: a table of all lines with their numbers. A click hides a line or shows it again. */
export interface LegendProps {
  readonly lines: readonly ChartLine[]
  readonly colours: ReadonlyMap<string, string>
  readonly hidden: ReadonlySet<string>
  readonly unit: string | null
  readonly onToggle: (id: string) => void
  readonly onFocus: (id: string | undefined) => void
}

export function Legend({ lines, colours, hidden, unit, onToggle, onFocus }: LegendProps) {
  return (
    <div class="legend">
      <table>
        <thead>
          <tr>
            <th scope="col">Line</th>
            <th scope="col" class="number" title="Of the whole range, computed exactly and not from the buckets">
              Whole range
            </th>
            <th scope="col" class="number">
              Last
            </th>
            <th scope="col" class="number wide">
              Least
            </th>
            <th scope="col" class="number wide">
              Greatest
            </th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => {
            const { id, label, total, values, comparedWith } = line
            const definedValues = values.filter((value) => value !== null)
            return (
              <tr
                key={id}
                class={hidden.has(id) ? 'is-hidden' : ''}
                onMouseEnter={() => onFocus(id)}
                onMouseLeave={() => onFocus(undefined)}
              >
                <th scope="row">
                  <button
                    type="button"
                    aria-pressed={!hidden.has(id)}
                    title="Show or hide this line"
                    onClick={() => onToggle(id)}
                    onFocus={() => onFocus(id)}
                    onBlur={() => onFocus(undefined)}
                  >
                    <Swatch colour={colours.get(id) ?? '--line-other'} isDashed={comparedWith !== undefined} />
                    <span>{label}</span>
                  </button>
                </th>
                <Figure value={total} unit={unit} />
                <Figure value={definedValues.at(-1) ?? null} unit={unit} />
                <Figure value={extremeOf(definedValues, Math.min)} unit={unit} isWide />
                <Figure value={extremeOf(definedValues, Math.max)} unit={unit} isWide />
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

interface FigureProps {
  readonly value: number | null
  readonly unit: string | null
  readonly isWide?: boolean
}

/** A table cell with a rounded number. The attributes `title` and `data-value` have the exact number. */
function Figure({ value, unit, isWide = false }: FigureProps) {
  return (
    <td class={isWide ? 'number wide' : 'number'} data-value={value ?? ''} title={value === null ? '' : String(value)}>
      {formatValue(value, unit)}
    </td>
  )
}

function extremeOf(values: readonly number[], choose: (a: number, b: number) => number): number | null {
  return values.length === 0 ? null : values.reduce((a, b) => choose(a, b))
}
