/** Parses and formats rate limits: how many requests of each class an API key or client network may send per minute. */

/**
 * All requests of a class count against one limit. `single` is the class of the limited REST requests that belong to no
 * other class. Requests of `betterstack` are counted per client network (`network.ts`), or per API key and client
 * network if the key has its own limit. The others are counted per API key.
 */
export const RATE_CLASSES = ['single', 'batch', 'query', 'graphql', 'betterstack', 'otlp', 'write'] as const
export type RateClass = (typeof RATE_CLASSES)[number]

/** Requests per minute; `off` means unlimited. */
export type RateLimit = number | 'off'
export type RateLimits = Readonly<Record<RateClass, RateLimit>>

/** The time to which a limit applies. */
export const RATE_WINDOW_MS = 60_000

/** Maximum requests per minute of a limit. */
const RATE_LIMIT_MAX = 1_000_000_000

/**
 * Parses `off`, which means all classes, or the limits of some classes such as `batch=100,query=off`. An empty text
 * gives an empty object. Throws an Error that names the unreadable part.
 */
export function parseRateLimits(text: string): Partial<RateLimits> {
  const limits: Partial<Record<RateClass, RateLimit>> = {}
  if (text.trim() === '') return limits
  if (text.trim().toLowerCase() === 'off') {
    for (const rateClass of RATE_CLASSES) limits[rateClass] = 'off'
    return limits
  }
  for (const assignment of text.split(',')) {
    const [name = '', limit = '', ...furtherParts] = assignment.trim().split('=')
    const rateClass = RATE_CLASSES.find((candidate) => candidate === name)
    if (rateClass === undefined || furtherParts.length > 0) {
      throw new Error(
        `must be off or CLASS=LIMIT with a class of ${RATE_CLASSES.join(', ')}, not ${JSON.stringify(assignment)}`,
      )
    }
    const requestsPerMinute = Number(limit)
    if (limit !== 'off' && (!/^\d+$/.test(limit) || requestsPerMinute < 1 || requestsPerMinute > RATE_LIMIT_MAX)) {
      throw new Error(`must limit ${rateClass} to a whole number from 1 to ${RATE_LIMIT_MAX}, or off`)
    }
    limits[rateClass] = limit === 'off' ? 'off' : requestsPerMinute
  }
  return limits
}

/** The inverse of {@link parseRateLimits}. */
export function formatRateLimits(limits: Partial<RateLimits>): string {
  return RATE_CLASSES.flatMap((rateClass) => {
    const limit = limits[rateClass]
    return limit === undefined ? [] : [`${rateClass}=${limit}`]
  }).join(',')
}
