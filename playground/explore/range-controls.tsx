import { useMemo, useState } from 'preact/hooks'
import { formatInstant, toInstant, toLocal } from '../question/local-time.ts'
import { DISTANCES, INTERVALS, type Question, RANGES, type Range } from '../question/question.ts'
import type { Ask } from './use-question.ts'
import { localZone } from './use-question.ts'

/** Over which time the question asks, and in what steps. */
export interface RangeControlsProps {
  readonly question: Question
  readonly ask: Ask
}

export function RangeControls({ question, ask }: RangeControlsProps) {
  const { range, interval, compare, isLive } = question
  return (
    <div class="range-controls">
      <RangePicker {...{ question, ask }} />
      <label class="field">
        <span>Interval</span>
        <select value={interval} onChange={({ currentTarget }) => ask({ ...question, interval: currentTarget.value })}>
          {withCurrent(INTERVALS, interval).map((width) => (
            <option key={width} value={width}>
              {width === 'auto' ? 'Auto' : width}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>Compare with</span>
        <select value={compare} onChange={({ currentTarget }) => ask({ ...question, compare: currentTarget.value })}>
          {withCurrent(['', 'previous', ...DISTANCES], compare).map((distance) => (
            <option key={distance} value={distance}>
              {COMPARISONS[distance] ?? `${distance} before`}
            </option>
          ))}
        </select>
      </label>
      <ZoneSelect {...{ question, ask }} />
      <label class="switch">
        <input
          type="checkbox"
          role="switch"
          checked={isLive}
          aria-checked={isLive}
          onChange={() => ask({ ...question, isLive: !isLive, range: isLive ? range : endlessRange(range) })}
        />
        <span class="switch-track" aria-hidden="true" />
        <span>Live</span>
      </label>
    </div>
  )
}

const COMPARISONS: Readonly<Record<string, string>> = {
  '': 'Nothing',
  previous: 'The time right before',
  '1d': 'A day before',
  '1w': 'A week before',
  '1mo': 'A month before',
  '1y': 'A year before',
}

/** A fixed range changes only by late points, so a live question shows the time up to now. */
function endlessRange(range: Range): Range {
  return 'last' in range ? range : { last: '1h' }
}

function RangePicker({ question, ask }: RangeControlsProps) {
  const { range } = question
  const isCustom = !('last' in range)
  const choose = (last: string): void => ask({ ...question, range: { last } })
  const presets = 'last' in range ? withCurrent(RANGES, range.last) : RANGES
  return (
    <fieldset class="range-picker">
      <legend>Range</legend>
      <div class="segments">
        {presets.map((last) => (
          <label key={last}>
            <input
              type="radio"
              name="range"
              checked={'last' in range && range.last === last}
              onChange={() => choose(last)}
            />
            <span>{last}</span>
          </label>
        ))}
        <label>
          <input
            type="radio"
            name="range"
            checked={isCustom}
            onChange={() => ask({ ...question, range: customRange(range), isLive: false })}
          />
          <span>Custom</span>
        </label>
      </div>
      {!('last' in range) && <CustomRange key={`${range.from} ${range.to}`} {...{ range, question, ask }} />}
    </fieldset>
  )
}

const UNITS_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** The same time as instants, for a start. */
function customRange(range: Range): Range {
  if (!('last' in range)) return range
  const [, count = '24', unit = 'h'] = /^(\d+)([mhdw])$/.exec(range.last) ?? []
  const toMs = Math.floor(Date.now() / 60_000) * 60_000
  const fromMs = toMs - Number(count) * UNITS_MS[unit]!
  return { from: formatInstant(fromMs), to: formatInstant(toMs) }
}

interface CustomRangeProps extends RangeControlsProps {
  readonly range: { readonly from: string; readonly to: string }
}

function CustomRange({ range, question, ask }: CustomRangeProps) {
  const { timezone } = question
  const [from, setFrom] = useState(() => toLocal(Date.parse(range.from), timezone))
  const [to, setTo] = useState(() => toLocal(Date.parse(range.to), timezone))
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    ask({ ...question, range: { from: toInstant(from, timezone), to: toInstant(to, timezone) } })
  }
  return (
    <form class="custom-range" onSubmit={submit}>
      <label class="field">
        <span>From</span>
        <input
          type="datetime-local"
          step="1"
          required
          value={from}
          onInput={({ currentTarget }) => setFrom(currentTarget.value)}
        />
      </label>
      <label class="field">
        <span>To</span>
        <input
          type="datetime-local"
          step="1"
          required
          min={from}
          value={to}
          onInput={({ currentTarget }) => setTo(currentTarget.value)}
        />
      </label>
      <button type="submit" class="primary">
        Apply
      </button>
    </form>
  )
}

function ZoneSelect({ question, ask }: RangeControlsProps) {
  const { timezone } = question
  const zones = useMemo(() => ['UTC', localZone(), ...Intl.supportedValuesOf('timeZone')], [])
  return (
    <label class="field">
      <span>Time zone</span>
      <select value={timezone} onChange={({ currentTarget }) => ask({ ...question, timezone: currentTarget.value })}>
        {withCurrent([...new Set(zones)], timezone).map((zone) => (
          <option key={zone} value={zone}>
            {zone.replaceAll('_', ' ')}
          </option>
        ))}
      </select>
    </label>
  )
}

/** An address may hold a value that is not in the list. */
function withCurrent(list: readonly string[], current: string): readonly string[] {
  return list.includes(current) ? list : [...list, current]
}
