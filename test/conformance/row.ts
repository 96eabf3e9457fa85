import { expect } from 'vitest'

/**
 * One statement of an API's contract: requests and the responses they must get, kept as data. Rows do not depend on the
 * server under test. Each row uses metric names of its own, so that rows may run in any order on one server.
 */
export interface Row extends Step {
  /** The statement. */
  readonly title: string
  /** Requests to send first. */
  readonly before?: readonly Step[]
  /** Requests that show the effect. */
  readonly after?: readonly Step[]
}

export interface Step {
  /** Method and path, exactly as sent. */
  readonly send: string
  /** Sent as JSON; text and bytes are sent unchanged. */
  readonly body?: unknown
  /** The key to send (see `KEYS`). Default: `all`; `none` sends no key. */
  readonly as?: keyof typeof KEYS | 'none'
  readonly headers?: Readonly<Record<string, string>>
  /** Default 200 for GET, 201 for POST. */
  readonly status?: number
  /** The whole response body: a text, or JSON in which the placeholders below stand for values that vary. */
  readonly response?: unknown
  /** Headers that the response must have, as texts or patterns. */
  readonly responseHeaders?: Readonly<Record<string, string | RegExp>>
}

/** Placeholders in a response. Each matches every value of its kind. */
export const INSTANT = '$instant'
export const ID = '$id'
export const MESSAGE = '$message'
export const CURSOR = '$cursor'
export const ANYTHING = '$anything'

const KINDS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  [INSTANT, expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(?!000)\d{3})?Z$/)],
  [ID, expect.stringMatching(/^[0-9A-Za-z-]{16,}$/)],
  [MESSAGE, expect.stringMatching(/\w+ \w+/)],
  [CURSOR, expect.stringMatching(/^[\w-]+$/)],
  [ANYTHING, expect.anything()],
])

/** `{"error":{…}}` with a message for people, and details where they are given. */
export function refusal(code: string, details?: unknown): unknown {
  return { error: { code, message: MESSAGE, ...(details === undefined ? {} : { details }) } }
}

/** An item of `errors` of a batch. */
export function itemError(index: number, code: string): object {
  return { index, code, message: MESSAGE }
}

export const KEYS = {
  all: 'key-with-all-scopes',
  ingest: 'key-with-ingest',
  query: 'key-with-query',
  admin: 'key-with-admin',
  other: 'key-of-another-project',
} as const

export const API_KEYS = [
  `${KEYS.all}:rows:ingest+query+admin`,
  `${KEYS.ingest}:rows:ingest`,
  `${KEYS.query}:rows:query`,
  `${KEYS.admin}:rows:admin`,
  `${KEYS.other}:others:ingest+query+admin`,
].join(',')

/** Replaces the placeholders in a response by matchers. */
export function expected(response: unknown): unknown {
  if (typeof response === 'string') return KINDS.get(response) ?? response
  if (Array.isArray(response)) return response.map(expected)
  if (typeof response !== 'object' || response === null) return response
  if ('asymmetricMatch' in response) return response
  return Object.fromEntries(Object.entries(response).map(([key, value]) => [key, expected(value)]))
}
