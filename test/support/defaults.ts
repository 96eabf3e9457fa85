import { readConfig } from '../../src/config/config.ts'

/** The settings of a gateway whose environment sets nothing. */
export const DEFAULTS = readConfig({})

export const DEFAULT_POINT_LIMITS = DEFAULTS.points
export const DEFAULT_RATE_LIMITS = DEFAULTS.access.rateLimits
