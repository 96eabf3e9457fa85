import { GatewayError } from '../model/errors.ts'
import { countRollups } from './plan/period.ts'
import type { QuerySession, SharedExecution } from './session.ts'
import { type PlannedRequest, suggestResolution } from './suggest-interval.ts'

/**
 * Charges the timeline rollups that the query reads to the budget of the request. Throws `query_too_large` if the
 * budget has fewer left; the error suggests another interval if one fits.
 */
export function chargeRollups(planned: PlannedRequest, session: QuerySession, execution: SharedExecution): void {
  const rollupCount = planned.periods.reduce((sum, { blocksToRead }) => sum + countRollups(blocksToRead), 0)
  const rollupsLeft = planned.rollupsMax
  if (rollupCount <= rollupsLeft) {
    execution.charge(session, rollupCount)
    return
  }
  const suggestedInterval = suggestResolution(planned)
  const advice =
    suggestedInterval === undefined ? 'a shorter range is needed' : `an interval of ${suggestedInterval} would fit`
  const { rollupsMax } = session
  const limitText =
    rollupsLeft === rollupsMax
      ? `at most ${rollupsMax}`
      : `${rollupsLeft} of the ${rollupsMax} of one request are left and`
  throw new GatewayError(
    'query_too_large',
    `the query would read ${rollupCount} stored rollups, ${limitText} are allowed; ${advice}`,
    {
      details: {
        rollups: rollupCount,
        rollupsMax,
        rollupsLeft,
        ...(suggestedInterval !== undefined && { fits: suggestedInterval }),
      },
    },
  )
}
