import type { ErrorCode } from '../../model/errors.ts'
import { type JsonSchema, listOf } from './schemas.ts'

/**
 * The OpenAPI description of a route. The route has it in `config.openapi`, which Fastify ignores. `/openapi.json`
 * collects the descriptions of all routes that have one. (Fastify's `schema` would compile validators; the gateway
 * validates by itself.)
 */
export interface Operation {
  readonly id: string
  readonly tag: OperationTag
  readonly summary: string
  readonly description?: string
  /** The scope that the API key needs; `any`: a key with any scope. Undefined: the route needs no key. */
  readonly scope?: 'ingest' | 'query' | 'admin' | 'any'
  readonly parameters?: readonly Parameter[]
  readonly body?: Content
  /** The content encodings of the body. Default: `CONTENT_ENCODINGS`. */
  readonly contentEncodings?: readonly string[]
  readonly response: SuccessResponse
  /** The codes of error responses. */
  readonly errors: readonly ErrorCode[]
  /** For routes whose error responses differ from `{"error":{…}}` with the status of the code. */
  readonly errorFormat?: ErrorFormat
}

export interface ErrorFormat {
  readonly content: Content
  readonly statusOf?: (code: ErrorCode) => number
  /** Descriptions of the responses that have no error code, by status. The status may be that of an error code too. */
  readonly descriptionsWithoutCode?: Readonly<Record<number, string>>
}

/** The schema of a body, by media type. */
export type Content = Readonly<Record<string, JsonSchema>>

export interface SuccessResponse {
  readonly status: number
  readonly description: string
  /** Undefined: the response has no body. */
  readonly content?: Content
  /** Descriptions of the response headers, by header name. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface Parameter {
  readonly in: 'path' | 'query' | 'header'
  readonly name: string
  readonly description: string
  readonly schema: JsonSchema
  readonly style?: 'deepObject'
}

/** A registered route. A HEAD route that Fastify adds has the operation of its GET route. */
export interface Route {
  readonly method: string
  /** A path, with `:name` for a variable part. */
  readonly path: string
  readonly operation: Operation | undefined
}

declare module 'fastify' {
  interface FastifyContextConfig {
    readonly openapi?: Operation
  }
  interface FastifyInstance {
    /** Every route, complete once the server is ready. */
    readonly routes: readonly Route[]
  }
}

/** Sections of the document, in the order in which it lists them. */
export const OPERATION_TAGS = [
  'Metrics',
  'Events',
  'Better Stack',
  'OpenTelemetry',
  'Prometheus',
  'GraphQL',
  'Operations',
] as const
type OperationTag = (typeof OPERATION_TAGS)[number]

export const STRING_SCHEMA: JsonSchema = { type: 'string' }

export const jsonContent = (schema: JsonSchema): Content => ({ 'application/json': schema })

export const queryParameter = (name: string, description: string, schema: JsonSchema = STRING_SCHEMA): Parameter => ({
  in: 'query',
  name,
  description,
  schema,
})

/** The parameter `limit` of a list. */
export const limitParameter = (description: string): Parameter =>
  queryParameter('limit', description, { type: 'integer', minimum: 1 })

export const FROM_PARAMETER = queryParameter(
  'from',
  'An instant, or relative to now such as `-6h`; inclusive. Default: 24 hours before the end.',
)
export const FORMAT_PARAMETER = queryParameter(
  'format',
  '`json` or `csv`. Default: the header `Accept` decides between `application/json` and `text/csv`.',
  { type: 'string', enum: ['json', 'csv'] },
)
export const TO_PARAMETER = queryParameter('to', 'The end of the range, in the same format; inclusive. Default: now.')
export const TAG_FILTER_PARAMETER: Parameter = {
  in: 'query',
  name: 'tags',
  description:
    '`tags[key]=value`: the tag must have this value. A repeated key accepts several values. All keys must match.',
  schema: { type: 'object', additionalProperties: { anyOf: [STRING_SCHEMA, listOf(STRING_SCHEMA)] } },
  style: 'deepObject',
}

export const IDEMPOTENCY_KEY_HEADER: Parameter = {
  in: 'header',
  name: 'Idempotency-Key',
  description:
    'Within 24 hours, a retry with the same key counts nothing twice and gets the first successful response.',
  schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
}

/** The header that the document lists for every route with a body. */
export const contentEncodingHeader = (encodings: readonly string[]): Parameter => ({
  in: 'header',
  name: 'Content-Encoding',
  description: 'Compression of the body. The size limit holds before and after decompression.',
  schema: { type: 'string', enum: encodings },
})

/** Error codes of every route that needs an API key. */
export const API_KEY_ERROR_CODES = [
  'missing_api_key',
  'invalid_api_key',
  'forbidden',
  'rate_limited',
  'internal',
  'store_unavailable',
] as const satisfies readonly ErrorCode[]

/** Error codes of every route that stores the items of a body. */
export const INGEST_ERROR_CODES = [
  ...API_KEY_ERROR_CODES,
  'invalid_body',
  'request_timeout',
  'idempotency_conflict',
  'payload_too_large',
  'unsupported_media_type',
  'overloaded',
] as const satisfies readonly ErrorCode[]
