import { describe, expect, it } from 'vitest'
import { asGatewayError, statusOf } from '../../../src/http/response/error-status.ts'
import { GatewayError } from '../../../src/model/errors.ts'

describe('the status of an error code', () => {
  it.each([
    [400, ['missing_name', 'invalid_tags', 'invalid_body', 'invalid_group_by', 'batch_too_large', 'query_too_large']],
    [401, ['missing_api_key', 'invalid_api_key']],
    [403, ['forbidden']],
    [404, ['metric_not_found', 'not_found']],
    [408, ['request_timeout']],
    [409, ['type_conflict', 'idempotency_conflict']],
    [413, ['payload_too_large']],
    [415, ['unsupported_media_type']],
    [422, ['series_limit_exceeded', 'metric_limit_exceeded']],
    [429, ['rate_limited']],
    [500, ['internal']],
    [503, ['overloaded', 'store_unavailable']],
  ] as const)('is %i for %j', (status, codes) => {
    for (const code of codes) expect(statusOf(code)).toBe(status)
  })

  it('does not convert a GatewayError', () => {
    const error = new GatewayError('invalid_range', 'from lies after to')
    expect(asGatewayError(error)).toBe(error)
  })

  it.each([[new Error('secret')], ['secret'], [undefined], [null], [{ statusCode: 404, message: 'secret' }]])(
    'converts %s to internal without details and keeps it as the cause',
    (thrown) => {
      const error = asGatewayError(thrown)
      expect(error.code).toBe('internal')
      expect(error.message).not.toContain('secret')
      expect(error.cause).toBe(thrown)
    },
  )
})
