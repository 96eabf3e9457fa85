import type { ErrorCode } from '../../model/errors.ts'
import { IDEMPOTENCY_KEY_HEADER, INGEST_ERROR_CODES, jsonContent, type Operation } from '../openapi/operation.ts'
import { refTo } from '../openapi/schemas.ts'

/** OpenAPI descriptions of the Flux routes that store the items of a body. All of them accept an idempotency key. */

interface IngestOperationFields extends Pick<Operation, 'id' | 'tag' | 'summary'> {
  /** Name of the schema of the request body. */
  readonly input: string
  /** Name of the schema of the response body. */
  readonly result: string
}

/** Describes a route that stores one item. `errors` lists its error codes besides `INGEST_ERROR_CODES`. */
export function singleOperation(fields: IngestOperationFields, errors: readonly ErrorCode[]): Operation {
  const { input, result, ...operation } = fields
  return {
    ...operation,
    scope: 'ingest',
    parameters: [IDEMPOTENCY_KEY_HEADER],
    body: jsonContent(refTo(input)),
    response: { status: 201, description: 'The item is stored durably.', content: jsonContent(refTo(result)) },
    errors: [...INGEST_ERROR_CODES, ...errors],
  }
}

/** Describes a route that stores the valid items of a batch. */
export function batchOperation(fields: IngestOperationFields): Operation {
  const { response, ...operation } = singleOperation(fields, ['batch_too_large'])
  return {
    ...operation,
    description: 'The response lists invalid items by their index. All others are stored.',
    response: { ...response, description: 'The numbers of stored and rejected items.' },
  }
}
