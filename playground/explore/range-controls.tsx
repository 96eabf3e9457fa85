import { useMemo, useState } from 'preact/hooks'
import { formatInstant, toInstant, toLocalInput } from '../question/local-time.ts'
import { COMPARE_OFFSETS, INTERVALS, type Question, RANGES, type Range } from '../question/question.ts'
import type { SetQuestion } from './use-question.ts'
import { localZone } from './use-question.ts'

/** Props of the controls of time: range, interval, comparison, time zone and live updates. */
export interface RangeControlsProps {
  readonly question: Question
  readonly setQuestion: SetQuestion
}

export function RangeControls({ question, setQuestion }: RangeControlsProps) {
  const { range, interval, compare, isLive } = question
  return (
    <div class="range-controls">
      <RangePicker {...{ question, setQuestion }} />
      <label class="field">
        <span>Interval</span>
        <select
          value={interval}
          onChange={({ currentTarget }) => setQuestion({ ...question, interval: currentTarget.value })}
        >
          {includingCurrent(INTERVALS, interval).map((width) => (
            <option key={width} value={width}>
              {width === 'auto' ? 'Auto' : width}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>Compare with</span>
        <select
          value={compare}
          onChange={({ currentTarget }) => setQuestion({ ...question, compare: currentTarget.value })}
        >
          {includingCurrent(['', 'previous', ...COMPARE_OFFSETS], compare).map((distance) => (
            <option key={distance} value={distance}>
              {COMPARISONS[distance] ?? `${distance} before`}
            </option>
          ))}
        </select>
      </label>
      <ZoneSelect {...{ question, setQuestion }} />
      <label class="switch">
        <input
          type="checkbox"
          role="switch"
          checked={isLive}
          aria-checked={isLive}
          onChange={() => setQuestion({ ...question, isLive: !isLive, range: isLive ? range : rangeUpToNow(range) })}
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

/** Returns a range that ends now, for live updates: after its end, only late points change a range with a fixed end. */
function rangeUpToNow(range: Range): Range {
  return 'last' in range ? range : { last: '1h' }
}

function RangePicker({ question, setQuestion }: RangeControlsProps) {
  const { range } = question
  const isCustom = !('last' in range)
  const choose = (last: string): void => setQuestion({ ...question, range: { last } })
  const presets = 'last' in range ? includingCurrent(RANGES, range.last) : RANGES
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
            onChange={() => setQuestion({ ...question, range: customRange(range), isLive: false })}
          />
          <span>Custom</span>
        </label>
      </div>
      {!('last' in range) && <CustomRange key={`${range.from} ${range.to}`} {...{ range, question, setQuestion }} />}
    </fieldset>
  )
}

const UNITS_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/**
 * Converts a range such as `6h` to its current start and end, in whole minutes, as the initial values of a custom
 * range. A length in another unit counts as 24 hours.
 */
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

function CustomRange({ range, question, setQuestion }: CustomRangeProps) {
  const { timezone } = question
  const [from, setFrom] = useState(() => toLocalInput(Date.parse(range.from), timezone))
  const [to, setTo] = useState(() => toLocalInput(Date.parse(range.to), timezone))
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    setQuestion({ ...question, range: { from: toInstant(from, timezone), to: toInstant(to, timezone) } })
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

function ZoneSelect({ question, setQuestion }: RangeControlsProps) {
  const { timezone } = question
  const zones = useMemo(() => ['UTC', localZone(), ...Intl.supportedValuesOf('timeZone')], [])
  return (
    <label class="field">
      <span>Time zone</span>
      <select
        value={timezone}
        onChange={({ currentTarget }) => setQuestion({ ...question, timezone: currentTarget.value })}
      >
        {includingCurrent([...new Set(zones)], timezone).map((zone) => (
          <option key={zone} value={zone}>
            {zone.replaceAll('_', ' ')}
          </option>
        ))}
      </select>
    </label>
  )
}

/** Adds the current value to a list of options, unless it is one: the address may hold any value. */
function includingCurrent(list: readonly string[], current: string): readonly string[] {
  return list.includes(current) ? list : [...list, current]
}
