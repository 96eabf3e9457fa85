import { expect, test } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { FailureLog } from '../../src/model/failure-log.ts'

const systemError = (code: string, message = code) => Object.assign(new Error(message), { code })
const unavailable = (cause: unknown) => new GatewayError('store_unavailable', 'the store is unavailable', { cause })

test('each reason is reported once until the work succeeds', () => {
  const reported: unknown[] = []
  const failures = new FailureLog((cause) => reported.push(cause))
  const full = unavailable(systemError('ENOSPC', 'write a'))
  const broken = unavailable(systemError('EIO'))
  failures.recordFailure(full)
  failures.recordFailure(unavailable(systemError('ENOSPC', 'write b')))
  failures.recordFailure(systemError('ENOSPC'))
  failures.recordFailure(broken)
  failures.recordFailure(full)
  expect(reported).toEqual([full, broken])
  failures.recordSuccess()
  failures.recordFailure(full)
  expect(reported).toEqual([full, broken, full])
})

test('causes without a code are told apart by their name', () => {
  const reported: unknown[] = []
  const failures = new FailureLog((cause) => reported.push(cause))
  for (const cause of [new TypeError('1'), new TypeError('2'), new RangeError('3'), 'text', 'another']) {
    failures.recordFailure(cause)
  }
  expect(reported).toEqual([new TypeError('1'), new RangeError('3'), 'text'])
})
