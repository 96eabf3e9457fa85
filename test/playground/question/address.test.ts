import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatAddress, parseAddress } from '../../../playground/question/address.ts'
import { defaultQuestion } from '../../../playground/question/question.ts'
import { anyQuestion, QUESTION } from './questions.ts'

describe('the address of a question', () => {
  it('is readable', () => {
    expect(formatAddress(QUESTION)).toBe(
      '?metric=api.response_time&show=P50,P95&by=endpoint&in.status=200&in.status=201&glob.endpoint=/users/*' +
        '&exists.region=true&top=3&rank=P95&other=1&compare=1w&last=6h&interval=5m&zone=Europe/Berlin',
    )
  })

  it('gives the same question when it is read', () => {
    fc.assert(
      fc.property(anyQuestion, (question) => {
        expect(parseAddress(formatAddress(question), 'UTC')).toEqual(question)
      }),
    )
  })

  it('without parameters is the first question, in the time zone of the browser', () => {
    expect(parseAddress('', 'Asia/Tokyo')).toEqual(defaultQuestion('Asia/Tokyo'))
  })

  it.each([
    ['show=p95', { aggregations: [] }],
    ['show=P95)+{+__typename+}+query(', { aggregations: [] }],
    ['top=0', { top: undefined }],
    ['top=many', { top: undefined }],
    ['from=2026-11-28', { range: { last: '24h' } }],
    ['like.endpoint=x', { filters: [] }],
    ['in.=x', { filters: [] }],
    ['rank=1&top=2', { top: { n: 2, by: '', direction: 'DESC', other: false } }],
  ])('leaves out what it cannot read: %s', (search, expected) => {
    expect(parseAddress(`?${search}`, 'UTC')).toMatchObject(expected)
  })
})
