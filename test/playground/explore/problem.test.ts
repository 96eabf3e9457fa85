import { describe, expect, it } from 'vitest'
import { problemOf, remedyOf } from '../../../playground/explore/problem.ts'
import { documentOf } from '../../../playground/question/document.ts'
import { defaultQuestion, type Question } from '../../../playground/question/question.ts'
import type { GraphQLResult } from '../../../playground/session/gateway.ts'
import { ERROR_CODES } from '../../../src/http/response/error-status.ts'
import { startGateway } from '../../support/gateway.ts'

describe('a problem', () => {
  it('has the code of the documentation', () => {
    const errors = [{ message: 'too many', extensions: { code: 'QUERY_TOO_LARGE', fits: '5m' } }]
    expect(problemOf({ errors })).toEqual({ code: 'query_too_large', message: 'too many', details: { fits: '5m' } })
    expect(problemOf({ data: {} })).toBeUndefined()
    expect(problemOf({ errors: [{ message: 'odd' }] })?.code).toBe('internal')
  })

  it.each(ERROR_CODES)('%s has a hint', (code) => {
    expect(remedyOf({ code, message: '', details: {} }, defaultQuestion('UTC')).hint).toMatch(/^[A-Z].*[.:?]/)
  })
})

describe('the changes that are offered', () => {
  const texts = (code: string, question: Question, details = {}): readonly string[] =>
    remedyOf({ code, message: '', details }, question).changes.map(({ text }) => text)
  const question: Question = { ...defaultQuestion('UTC'), metric: 'm', range: { last: '6h' }, interval: '1m' }

  it('have top groups only if there are groups, and more of them', () => {
    const grouped = { ...question, groupBy: ['host'] }
    const top = { n: 50, by: 'P95', direction: 'ASC', other: false } as const
    expect(texts('query_too_large', question)).toEqual(['Let the gateway choose'])
    expect(texts('query_too_large', grouped)).toEqual(['Let the gateway choose', 'Show the top 5 groups'])
    expect(texts('query_too_large', { ...grouped, top })).toContain('Show the top 5 groups')
    expect(texts('query_too_large', { ...grouped, top: { ...top, n: 3 } })).toEqual(['Let the gateway choose'])
  })

  it('change what is asked, each in another way', () => {
    const lastDay: Question = { ...question, range: { last: '24h' }, interval: 'auto' }
    expect(texts('query_too_large', lastDay)).toEqual([])
    expect(texts('unknown_code', lastDay)).toEqual([])
    expect(texts('unknown_code', question)).toEqual(['Show the last 24 hours'])
    expect(texts('invalid_interval', question, { finest: 'auto' })).toEqual(['Use an interval of auto'])
  })
})

it('every change that is offered for a query that is too large makes it fit', async () => {
  const gateway = await startGateway({ env: { QUERY_VALUES_MAX: '100' } })
  const post = (path: string, body: object) =>
    fetch(`${gateway.url}${path}`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  await post('/api/v1/metrics', { name: 'm', type: 'counter', value: 1 })
  const ask = async (question: Question): Promise<GraphQLResult> =>
    (await (await post('/graphql', { query: documentOf(question) })).json()) as GraphQLResult
  const question: Question = { ...defaultQuestion('UTC'), metric: 'm', range: { last: '6h' }, interval: '1m' }
  const problem = problemOf(await ask(question))
  expect(problem?.code).toBe('query_too_large')
  const [first] = remedyOf(problem!, question).changes
  expect(first?.text).toMatch(/^Use an interval of \d+m$/)
  for (const { text, change } of remedyOf(problem!, question).changes) {
    expect([text, problemOf(await ask(change(question)))]).toEqual([text, undefined])
  }
  const odd = { ...question, timezone: 'No/Where' }
  const [utc] = remedyOf(problemOf(await ask(odd))!, odd).changes
  expect(utc?.change(odd).timezone).toBe('UTC')
  await gateway.close()
})
