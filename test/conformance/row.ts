import { expect } from 'vitest'

/**
 * A sentence of a contract as a request and what it must be answered, kept as data: rows know no server. Each row names what it
 * uses by names of its own, so that rows may run in any order on one server.
 */
export interface Row extends Step {
  /** The sentence. */
  readonly says: string
  /** Requests that come before the one of the sentence. */
  readonly before?: readonly Step[]
  /** Requests that show what it did. */
  readonly after?: readonly Step[]
}

export interface Step {
  /** Method and path, as they go over the wire. */
  readonly send: string
  /** Sent as JSON; text and bytes as they are. */
  readonly body?: unknown
  /** Whose key (`KEYS`) comes with it; default `all`, and `none` sends none. */
  readonly as?: keyof typeof KEYS | 'none'
  readonly headers?: Readonly<Record<string, string>>
  /** Default 200 for GET, 201 for POST. */
  readonly status?: number
  /** The whole body: text as it is, anything else as the JSON it is. Texts below stand for what is different each time. */
  readonly answer?: unknown
  /** Headers that the answer must have, as texts or as patterns. */
  readonly answers?: Readonly<Record<string, string | RegExp>>
}

/** Texts of an answer that stand for any of their kind. */
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
  all: 'key-of-everything',
  ingest: 'key-that-sends',
  query: 'key-that-asks',
  admin: 'key-that-manages',
  other: 'key-of-another-project',
} as const

export const API_KEYS = [
  `${KEYS.all}:rows:ingest+query+admin`,
  `${KEYS.ingest}:rows:ingest`,
  `${KEYS.query}:rows:query`,
  `${KEYS.admin}:rows:admin`,
  `${KEYS.other}:others:ingest+query+admin`,
].join(',')

/** What an answer is compared with. */
export function expected(answer: unknown): unknown {
  if (typeof answer === 'string') return KINDS.get(answer) ?? answer
  if (Array.isArray(answer)) return answer.map(expected)
  if (typeof answer !== 'object' || answer === null) return answer
  if ('asymmetricMatch' in answer) return answer
  return Object.fromEntries(Object.entries(answer).map(([key, value]) => [key, expected(value)]))
}
