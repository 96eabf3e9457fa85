import {
  ALONE,
  COUNTER,
  counterValue,
  type Day,
  DISTRIBUTION,
  ENDPOINTS,
  endpointOf,
  HOURS,
  hostOf,
  latencyValue,
  ONE_SERIES,
  SERIES,
  steps,
  USERS,
  userOf,
} from './day.ts'

/** The queries over the day, each with a check of its result. */
export interface DayQuery {
  readonly name: string
  readonly path: string
  /** Budgets in CPU ms: of the first run after a start, and of repeated runs. Undefined: no budget. */
  readonly coldBudget: number | undefined
  readonly repeatedBudget: number | undefined
  /** Throws when the result is wrong. `added` are further points in the last hour of the day. */
  check(body: string, added: Added): void
}

export interface Added {
  /** To the counter's sum of the last hour. */
  readonly sum: number
  /** Observations of 100 in the distribution. */
  readonly observations: number
}

export const NOTHING_ADDED: Added = { sum: 0, observations: 0 }

const QUANTILE_ERROR = 0.0101
/** A little more than three standard errors of the estimate. */
const DISTINCT_ERROR = 0.03

interface Bucket {
  readonly timestamp: string
  readonly value: number
}

export function queriesOf(day: Day): readonly DayQuery[] {
  const expected = expectationsOf()
  const range = `from=${day.fromMs}&to=${day.toMs - 1}`
  const lastHourPlus = (values: Float64Array, more: number): Float64Array =>
    values.map((value, hour) => (hour === HOURS - 1 ? value + more : value))
  return [
    {
      name: 'sum by hour',
      path: `/api/v1/metrics/${COUNTER}/query?${range}&aggregation=sum&interval=1h`,
      coldBudget: 25,
      repeatedBudget: 5,
      check: (body, { sum }) => compareBuckets(seriesOf(body), lastHourPlus(expected.sums, sum), 1e-9),
    },
    {
      name: 'sum by endpoint by hour',
      path: `/api/v1/metrics/${COUNTER}/query?${range}&aggregation=sum&interval=1h&group_by=tags.endpoint`,
      coldBudget: 30,
      repeatedBudget: 8,
      check(body, { sum }) {
        const groups = groupsOf(body)
        if (Object.keys(groups).length !== ENDPOINTS)
          throw new Error(`${Object.keys(groups).length} groups instead of ${ENDPOINTS}`)
        for (let i = 0; i < ENDPOINTS; i++) {
          compareBuckets(groups[endpointOf(i)] ?? [], lastHourPlus(expected.sumsByEndpoint[i]!, sum / ENDPOINTS), 1e-9)
        }
      },
    },
    {
      name: 'p95 by hour',
      path: `/api/v1/metrics/${DISTRIBUTION}/query?${range}&aggregation=p95&interval=1h`,
      coldBudget: 60,
      repeatedBudget: 15,
      check: (body, { observations }) => compareBuckets(seriesOf(body), expected.p95s(observations), QUANTILE_ERROR),
    },
    {
      name: 'one series by minute',
      path: `/api/v1/metrics/${COUNTER}/query?${range}&aggregation=sum&interval=1m&tags[host]=${hostOf(ONE_SERIES)}`,
      coldBudget: 3,
      repeatedBudget: 3,
      check(body, { sum }) {
        const added = sum / SERIES
        // All added points have the same time, some seconds before the end of the last minute.
        const values = expected.minutes.slice()
        values[values.length - 1]! += added
        compareBuckets(seriesOf(body), values, 1e-9)
      },
    },
    {
      name: 'distinct members by hour',
      path: `/api/v1/metrics/${USERS}/query?${range}&aggregation=count&interval=1h`,
      coldBudget: 150,
      repeatedBudget: 150,
      check: (body) => compareBuckets(seriesOf(body), expected.users, DISTINCT_ERROR),
    },
  ]
}

/** A query without data. It measures HTTP, parsing and planning. */
export function emptyQuery(day: Day): string {
  return `/api/v1/metrics/${ALONE}/query?from=${day.toMs - 3_600_000}&to=${day.toMs - 1}&aggregation=sum&interval=1h`
}

function expectationsOf() {
  const sums = new Float64Array(HOURS)
  const sumsByEndpoint = Array.from({ length: ENDPOINTS }, () => new Float64Array(HOURS))
  const minutes = new Float64Array(HOURS * 60)
  const users = new Float64Array(HOURS)
  const p95s = new Float64Array(HOURS)
  const observed = new Float64Array(SERIES * steps.perHour)
  let lastHour = observed
  for (let hour = 0; hour < HOURS; hour++) {
    let n = 0
    for (let step = hour * steps.perHour; step < (hour + 1) * steps.perHour; step++) {
      for (let series = 0; series < SERIES; series++) {
        const value = counterValue(series, step)
        sums[hour]! += value
        sumsByEndpoint[series % ENDPOINTS]![hour]! += value
        if (series === ONE_SERIES) minutes[Math.floor((step * steps.everyMs) / 60_000)]! += value
        observed[n++] = latencyValue(series, step)
      }
    }
    observed.sort()
    p95s[hour] = quantileOf(observed, 0.95)
    if (hour === HOURS - 1) lastHour = observed.slice()
    const seen = new Set<string>()
    for (let step = hour * steps.usersPerHour; step < (hour + 1) * steps.usersPerHour; step++) {
      for (let series = 0; series < SERIES; series++) seen.add(userOf(series, step))
    }
    users[hour] = seen.size
  }
  return {
    sums,
    sumsByEndpoint,
    minutes,
    users,
    p95s(added: number): Float64Array {
      if (added === 0) return p95s
      const all = new Float64Array(lastHour.length + added).fill(100)
      all.set(lastHour)
      return p95s.with(HOURS - 1, quantileOf(all.sort(), 0.95))
    },
  }
}

/** With linear interpolation between ranks. */
function quantileOf(ascending: Float64Array, q: number): number {
  const rank = q * (ascending.length - 1)
  const below = Math.floor(rank)
  const above = Math.min(below + 1, ascending.length - 1)
  return ascending[below]! + (ascending[above]! - ascending[below]!) * (rank - below)
}

function seriesOf(body: string): readonly Bucket[] {
  return (JSON.parse(body) as { data: { series: Bucket[] } }).data.series
}

function groupsOf(body: string): Readonly<Record<string, readonly Bucket[]>> {
  return (JSON.parse(body) as { data: { groups: Record<string, Bucket[]> } }).data.groups
}

function compareBuckets(buckets: readonly Bucket[], expected: Float64Array, errorMax: number): void {
  if (buckets.length !== expected.length) throw new Error(`${buckets.length} buckets instead of ${expected.length}`)
  for (const [i, { timestamp, value }] of buckets.entries()) {
    if (Math.abs(value - expected[i]!) > errorMax * Math.max(1, Math.abs(expected[i]!))) {
      throw new Error(`bucket ${timestamp} holds ${value} instead of ${expected[i]!}`)
    }
  }
}
