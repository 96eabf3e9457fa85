import { GatewayError, type ItemError } from '../../src/model/errors.ts'
import type { TrackedType } from '../../src/model/metric.ts'
import { fillLine, type QueryResult } from '../../src/query/compute/result.ts'
import type { QueryInput } from '../../src/query/plan/request.ts'
import type { TestGateway } from '../support/gateway.ts'

export const PROJECT = 'test'

/**
 * A point: `value` of a gauge, a distribution (so often as `weight` says) or a delta; a running `total`, which was 0 at
 * `since`; a `member`.
 */
export interface Sample {
  readonly at: string | number
  readonly value?: number
  readonly weight?: number
  readonly total?: number
  readonly since?: number
  readonly member?: string
  readonly tags?: Readonly<Record<string, string>>
}

/** One request to the verbs below HTTP. Answers what was left out. */
export function track(
  { gateway }: TestGateway,
  name: string,
  type: TrackedType,
  samples: readonly Sample[],
): Promise<readonly ItemError[]> {
  return gateway.track(PROJECT, (sink) => {
    for (const [i, { at, value, weight, total, since, member, tags = {} }] of samples.entries()) {
      const series = sink.resolve(name, type, Object.entries(tags))
      const timeMs = typeof at === 'number' ? at : Date.parse(at)
      if ('code' in series) sink.reject(i, series)
      else if (member !== undefined) sink.addMember(i, series, timeMs, member)
      else if (total !== undefined && since !== undefined) sink.addTotalSince(i, series, timeMs, total, since)
      else if (total !== undefined) sink.addTotal(i, series, timeMs, total)
      else if (weight !== undefined) sink.addWeighted(i, series, timeMs, value ?? Number.NaN, weight)
      else sink.add(i, series, timeMs, value ?? Number.NaN)
    }
  })
}

export function ask({ gateway }: TestGateway, input: QueryInput): Promise<QueryResult> {
  return gateway.query(PROJECT, input)
}

/** Rows as `start value value …`, by the values grouped by joined with a bar. */
export function rowsOf(result: QueryResult): Record<string, string[]> {
  return Object.fromEntries(
    result.groups.map((group) => {
      const lines = result.aggregations.map(({ name }) => fillLine(group, name, result.fill))
      const rows = (lines[0]?.bucketIndexes ?? []).map((bucket, row) =>
        [instant(result.startMs[bucket]!), ...lines.map(({ values }) => String(values[row]))].join(' '),
      )
      return [group.tags.map(([, value]) => value).join('|'), rows]
    }),
  )
}

/** Rows of a query without groups. */
export async function rows(gateway: TestGateway, input: QueryInput): Promise<string[]> {
  return rowsOf(await ask(gateway, input))['']!
}

function instant(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z')
}

/** The error of a query that is refused. */
export async function refusal(gateway: TestGateway, input: QueryInput): Promise<GatewayError> {
  const outcome = await ask(gateway, input).then(
    () => undefined,
    (error: unknown) => error,
  )
  if (outcome instanceof GatewayError) return outcome
  throw new Error('the query was answered, or failed otherwise', { cause: outcome })
}
