import {
  API_KEY_ERROR_CODES,
  type Content,
  jsonContent,
  type Operation,
  queryParameter,
} from '../../http/openapi/operation.ts'
import { refTo } from '../../http/openapi/schemas.ts'
import type { ErrorCode } from '../../model/errors.ts'

/** The OpenAPI description of the GraphQL endpoint. */

const RESULT_CONTENT: Content = {
  'application/json': refTo('GraphQLResult'),
  'application/graphql-response+json': refTo('GraphQLResult'),
  'text/event-stream': {
    type: 'string',
    description: 'A stream of results, in the distinct connections mode of graphql-sse.',
  },
  'multipart/mixed': {
    type: 'string',
    description: "A stream of results, in Apollo's multipart protocol for subscriptions.",
  },
}

const ERROR_CODES: readonly ErrorCode[] = [...API_KEY_ERROR_CODES, 'invalid_body', 'query_too_large', 'overloaded']
const ERROR_FORMAT = { content: jsonContent(refTo('GraphQLResult')) }

export const GRAPHQL_POST: Operation = {
  id: 'graphql',
  tag: 'GraphQL',
  summary: 'Runs an operation',
  description:
    'Introspection returns the schema. `extensions.code` of an error holds one of these codes in upper case.',
  scope: 'any',
  body: jsonContent(refTo('GraphQLRequest')),
  response: { status: 200, description: 'The result, with errors by field.', content: RESULT_CONTENT },
  errors: [...ERROR_CODES, 'batch_too_large', 'request_timeout', 'payload_too_large', 'unsupported_media_type'],
  errorFormat: ERROR_FORMAT,
}

export const GRAPHQL_GET: Operation = {
  id: 'graphqlByGet',
  tag: 'GraphQL',
  summary: 'Runs a query; browsers get the playground',
  scope: 'any',
  parameters: [
    queryParameter('query', 'The document.'),
    queryParameter('documentId', 'The id of a persisted operation, in place of `query`.'),
    queryParameter('operationName', 'The operation of the document to run.'),
    queryParameter('variables', 'A JSON object.'),
    queryParameter('extensions', 'A JSON object.'),
  ],
  response: {
    status: 200,
    description: 'The result, with errors by field.',
    content: { ...RESULT_CONTENT, 'text/html': { type: 'string' } },
  },
  errors: ERROR_CODES,
  errorFormat: ERROR_FORMAT,
}
