import { GatewayError } from '../../model/errors.ts'

export function bodyTooLargeError(): GatewayError {
  return new GatewayError('payload_too_large', 'the body exceeds the size limit')
}
