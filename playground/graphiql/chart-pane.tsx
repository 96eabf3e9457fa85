import type { TargetedPointerEvent } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Chart } from '../chart/chart.ts'
import { ChartView } from '../chart/chart-view.tsx'
import { findCharts } from '../chart/find-charts.ts'
import {
  clampHeight,
  PANE_PX_MAX,
  PANE_PX_MIN,
  PANE_STEP_PX,
  type PaneSize,
  readPaneSize,
  storePaneSize,
} from './pane-size.ts'
import type { TabResults } from './tab-results.ts'

/** A pane below GraphiQL's response, with the charts of the open tab's last result. */
export function ChartPane({ results }: { readonly results: TabResults }) {
  const [size, setSize] = useState(() => readPaneSize(localStorage))
  const [data, setData] = useState<unknown>(() => results.dataOfOpenTab())
  useEffect(() => results.subscribe(() => setData(() => results.dataOfOpenTab())), [results])
  const charts = useMemo(() => findCharts(data), [data])
  const changeSize = (next: PaneSize): void => {
    setSize(next)
    storePaneSize(localStorage, next)
  }
  const { isOpen, heightPx } = size
  return (
    <section class="chart-pane" aria-label="Chart" style={isOpen ? { height: `${heightPx}px` } : {}}>
      {isOpen && <ResizeHandle {...{ size, setSize, changeSize }} />}
      <header class="pane-head">
        <button
          type="button"
          class="pane-toggle"
          aria-expanded={isOpen}
          aria-controls="chart-pane-body"
          onClick={() => changeSize({ ...size, isOpen: !isOpen })}
        >
          <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span> {charts.length > 1 ? `${charts.length} charts` : 'Chart'}
        </button>
      </header>
      {isOpen && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it may scroll
        <div class="pane-body" id="chart-pane-body" tabIndex={0}>
          {charts.length === 0 ? (
            <NoChart hasResult={data !== undefined} />
          ) : (
            charts.map((chart, index) => (
              // A chart is identified only by its position in the result.
              <PaneChart key={index} chart={chart} hasTitle={charts.length > 1} />
            ))
          )}
        </div>
      )}
    </section>
  )
}

const CHART_PX = 210

function PaneChart({ chart, hasTitle }: { readonly chart: Chart; readonly hasTitle: boolean }) {
  const { title, timezone = 'UTC', lineCountWithoutTimes } = chart
  return (
    <div class="pane-chart">
      {hasTitle && <h2>{title}</h2>}
      {lineCountWithoutTimes > 0 && (
        <p class="note">
          Select <code>timestamps</code> beside <code>values</code> to see{' '}
          {lineCountWithoutTimes === 1 ? 'a line' : 'lines'}.
        </p>
      )}
      <ChartView chart={chart} timezone={timezone} height={CHART_PX} />
    </div>
  )
}

function NoChart({ hasResult }: { readonly hasResult: boolean }) {
  return (
    <div class="pane-hint">
      <p>{hasResult ? 'This answer has nothing to draw.' : 'Run a query to see its chart.'}</p>
      <p>A chart needs lines, or the totals of groups. Select one of these in a query or a live query:</p>
      <pre>
        <code>{'series { label timestamps values }\ngroups { tags total { p95 } }'}</code>
      </pre>
    </div>
  )
}

interface HandleProps {
  readonly size: PaneSize
  readonly setSize: (size: PaneSize) => void
  readonly changeSize: (size: PaneSize) => void
}

/** A handle that resizes the pane by dragging or by the arrow keys. */
function ResizeHandle({ size, setSize, changeSize }: HandleProps) {
  const drag = (down: TargetedPointerEvent<HTMLElement>): void => {
    const handle: HTMLElement = down.currentTarget
    handle.setPointerCapture(down.pointerId)
    const heightAt = ({ clientY }: PointerEvent): number => clampHeight(size.heightPx + down.clientY - clientY)
    const dragging = new AbortController()
    const { signal } = dragging
    const resize = (event: PointerEvent): void => setSize({ ...size, heightPx: heightAt(event) })
    const drop = (event: PointerEvent): void => {
      dragging.abort()
      changeSize({ ...size, heightPx: heightAt(event) })
    }
    handle.addEventListener('pointermove', resize, { signal })
    handle.addEventListener('pointerup', drop, { signal })
    handle.addEventListener('pointercancel', () => dragging.abort(), { signal })
  }
  const step = (event: KeyboardEvent): void => {
    const stepPx = { ArrowUp: PANE_STEP_PX, ArrowDown: -PANE_STEP_PX }[event.key]
    if (stepPx === undefined) return
    event.preventDefault()
    changeSize({ ...size, heightPx: clampHeight(size.heightPx + stepPx) })
  }
  return (
    // biome-ignore lint/a11y/useSemanticElements: an hr cannot be moved
    <div
      class="pane-handle"
      role="separator"
      aria-orientation="horizontal"
      aria-label="Height of the chart"
      aria-valuemin={PANE_PX_MIN}
      aria-valuemax={PANE_PX_MAX}
      aria-valuenow={size.heightPx}
      tabIndex={0}
      onPointerDown={drag}
      onKeyDown={step}
    />
  )
}
