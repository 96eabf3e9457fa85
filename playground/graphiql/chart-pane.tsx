import type { TargetedPointerEvent } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Chart } from '../chart/chart.ts'
import { ChartView } from '../chart/chart-view.tsx'
import { chartsOf } from '../chart/charts-of.ts'
import type { TabAnswers } from './answers.ts'
import {
  clampHeight,
  PANE_PX_MAX,
  PANE_PX_MIN,
  PANE_STEP_PX,
  type PaneSize,
  readPaneSize,
  storePaneSize,
} from './pane-size.ts'

/** The charts of the open tab's last answer, below the answer. */
export function ChartPane({ answers }: { readonly answers: TabAnswers }) {
  const [size, setSize] = useState(() => readPaneSize(localStorage))
  const [data, setData] = useState<unknown>(() => answers.current())
  useEffect(() => answers.subscribe(() => setData(() => answers.current())), [answers])
  const charts = useMemo(() => chartsOf(data), [data])
  const change = (next: PaneSize): void => {
    setSize(next)
    storePaneSize(localStorage, next)
  }
  const { isOpen, heightPx } = size
  return (
    <section class="chart-pane" aria-label="Chart" style={isOpen ? { height: `${heightPx}px` } : {}}>
      {isOpen && <Handle {...{ size, setSize, change }} />}
      <header class="pane-head">
        <button
          type="button"
          class="pane-toggle"
          aria-expanded={isOpen}
          aria-controls="chart-pane-body"
          onClick={() => change({ ...size, isOpen: !isOpen })}
        >
          <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span> {charts.length > 1 ? `${charts.length} charts` : 'Chart'}
        </button>
      </header>
      {isOpen && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it may scroll
        <div class="pane-body" id="chart-pane-body" tabIndex={0}>
          {charts.length === 0 ? (
            <NoChart hasAnswer={data !== undefined} />
          ) : (
            charts.map((chart, index) => (
              // Charts have no identity but their place in the answer.
              <OneChart key={index} chart={chart} hasTitle={charts.length > 1} />
            ))
          )}
        </div>
      )}
    </section>
  )
}

const CHART_PX = 210

function OneChart({ chart, hasTitle }: { readonly chart: Chart; readonly hasTitle: boolean }) {
  const { title, timezone = 'UTC', timelessLines } = chart
  return (
    <div class="pane-chart">
      {hasTitle && <h2>{title}</h2>}
      {timelessLines > 0 && (
        <p class="note">
          Select <code>timestamps</code> beside <code>values</code> to see {timelessLines === 1 ? 'a line' : 'lines'}.
        </p>
      )}
      <ChartView chart={chart} timezone={timezone} height={CHART_PX} />
    </div>
  )
}

function NoChart({ hasAnswer }: { readonly hasAnswer: boolean }) {
  return (
    <div class="pane-hint">
      <p>{hasAnswer ? 'This answer has nothing to draw.' : 'Run a query to see its chart.'}</p>
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
  readonly change: (size: PaneSize) => void
}

/** Resizes the pane, by the pointer or the arrow keys. */
function Handle({ size, setSize, change }: HandleProps) {
  const drag = (down: TargetedPointerEvent<HTMLElement>): void => {
    const handle: HTMLElement = down.currentTarget
    handle.setPointerCapture(down.pointerId)
    const heightAt = ({ clientY }: PointerEvent): number => clampHeight(size.heightPx + down.clientY - clientY)
    const dragging = new AbortController()
    const { signal } = dragging
    const resize = (event: PointerEvent): void => setSize({ ...size, heightPx: heightAt(event) })
    const drop = (event: PointerEvent): void => {
      dragging.abort()
      change({ ...size, heightPx: heightAt(event) })
    }
    handle.addEventListener('pointermove', resize, { signal })
    handle.addEventListener('pointerup', drop, { signal })
    handle.addEventListener('pointercancel', () => dragging.abort(), { signal })
  }
  const step = (event: KeyboardEvent): void => {
    const stepPx = { ArrowUp: PANE_STEP_PX, ArrowDown: -PANE_STEP_PX }[event.key]
    if (stepPx === undefined) return
    event.preventDefault()
    change({ ...size, heightPx: clampHeight(size.heightPx + stepPx) })
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
