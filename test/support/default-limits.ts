import { graphqlLimitsOf, serverLimitsOf } from '../../src/process/combined-limits.ts'
import { DEFAULTS } from './defaults.ts'

/** The limits of the interfaces when the environment sets nothing. */
export const DEFAULT_SERVER_LIMITS = serverLimitsOf(DEFAULTS)
export const DEFAULT_GRAPHQL_LIMITS = graphqlLimitsOf(DEFAULTS)
