import { EVENT_TEXT_FIELDS } from '../../model/event.ts'
import { METRIC_TYPES, TRACKED_TYPES } from '../../model/metric.ts'
import type { PointLimits } from '../../model/point.ts'
import { ERROR_CODES } from '../response/error-status.ts'

/** A JSON Schema of draft 2020-12, the dialect of OpenAPI 3.1. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
}

export const refTo = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` })

export const listOf = (items: JsonSchema, otherKeywords: JsonSchema = {}): JsonSchema => ({
  type: 'array',
  items,
  ...otherKeywords,
})

export function objectOf(
  properties: Readonly<Record<string, JsonSchema>>,
  optional: readonly string[] = [],
): JsonSchema {
  return {
    type: 'object',
    properties,
    required: Object.keys(properties).filter((name) => !optional.includes(name)),
  }
}

const textSchema = (description: string, otherKeywords: JsonSchema = {}): JsonSchema => ({
  type: 'string',
  description,
  ...otherKeywords,
})
const countSchema = (description: string): JsonSchema => ({ type: 'integer', minimum: 0, description })
const nullableSchema = (type: string, description: string): JsonSchema => ({ type: [type, 'null'], description })

const INSTANT_SCHEMA = textSchema('RFC 3339, in UTC.', { format: 'date-time', examples: ['2024-01-15T10:30:00Z'] })
const TAGS_SCHEMA = { type: 'object', additionalProperties: { type: 'string' } }

/** The limits that appear in the schemas. */
export interface SchemaLimits {
  readonly points: PointLimits
  readonly batchItemsMax: number
  readonly eventBytesMax: number
}

/** Returns the schemas of requests and responses, by name. */
export function componentSchemas({
  points,
  batchItemsMax,
  eventBytesMax,
}: SchemaLimits): Readonly<Record<string, JsonSchema>> {
  const name = textSchema('Name of a metric or an event.', { minLength: 1, maxLength: points.nameCharsMax })
  const itemError = {
    index: countSchema('Position of the item in the request.'),
    code: refTo('ErrorCode'),
    message: textSchema('An explanation, for people.'),
  }
  const batch = objectOf({
    accepted: countSchema('Items that were stored.'),
    rejected: countSchema('Items that were not stored.'),
  })
  return {
    ErrorCode: { type: 'string', enum: ERROR_CODES, description: 'The kind of error, for programs.' },
    Error: objectOf({
      error: objectOf(
        {
          code: refTo('ErrorCode'),
          message: textSchema('An explanation, for people.'),
          details: { type: 'object', description: 'More about the error, such as the limit that was exceeded.' },
        },
        ['details'],
      ),
    }),
    Instant: {
      description:
        'RFC 3339 with any offset, or UNIX time in seconds, milliseconds, microseconds or nanoseconds; the magnitude decides.',
      type: ['string', 'number', 'null'],
      examples: ['2024-01-15T10:30:00Z', 1_705_314_600],
    },
    TagsInput: {
      type: ['object', 'null'],
      description: `At most ${points.tagsMax} tags. Numbers and booleans are stored as text; null values are dropped.`,
      propertyNames: { minLength: 1, maxLength: points.tagKeyCharsMax },
      additionalProperties: { type: ['string', 'number', 'boolean', 'null'] },
      examples: [{ endpoint: '/users', status: 200 }],
    },
    MetricInput: objectOf(
      {
        name,
        type: { type: 'string', enum: TRACKED_TYPES },
        value: { type: ['number', 'string'], description: 'A finite number; for a set, a string.' },
        timestamp: refTo('Instant'),
        tags: refTo('TagsInput'),
        unit: nullableSchema('string', 'Set by the request that creates the metric; ignored later.'),
        description: nullableSchema('string', 'Set by the request that creates the metric; ignored later.'),
      },
      ['timestamp', 'tags', 'unit', 'description'],
    ),
    MetricBatchInput: {
      anyOf: [
        objectOf({ metrics: listOf(refTo('MetricInput'), { maxItems: batchItemsMax }) }),
        listOf(refTo('MetricInput'), { maxItems: batchItemsMax }),
      ],
    },
    EventInput: {
      ...objectOf(
        {
          name,
          value: nullableSchema('number', 'Any number.'),
          timestamp: refTo('Instant'),
          tags: refTo('TagsInput'),
          properties: nullableSchema('object', 'Any JSON.'),
          ...Object.fromEntries(EVENT_TEXT_FIELDS.map((field) => [field, nullableSchema('string', 'As sent.')])),
        },
        ['value', 'timestamp', 'tags', 'properties', ...EVENT_TEXT_FIELDS],
      ),
      description: `Stored whole; at most ${eventBytesMax} bytes.`,
    },
    EventBatchInput: {
      anyOf: [
        objectOf({ events: listOf(refTo('EventInput'), { maxItems: batchItemsMax }) }),
        listOf(refTo('EventInput'), { maxItems: batchItemsMax }),
      ],
    },
    CombinedBatchInput: objectOf(
      {
        events: listOf(refTo('EventInput'), { maxItems: batchItemsMax }),
        metrics: listOf(refTo('MetricInput'), { maxItems: batchItemsMax }),
      },
      ['events', 'metrics'],
    ),
    ItemError: objectOf(itemError),
    TrackedMetric: objectOf({
      data: objectOf({
        name,
        type: { type: 'string', enum: TRACKED_TYPES },
        value: { type: ['number', 'string'] },
        timestamp: INSTANT_SCHEMA,
      }),
    }),
    BatchResult: objectOf({ data: batch, errors: listOf(refTo('ItemError')) }, ['errors']),
    CombinedBatchResult: objectOf(
      {
        data: objectOf({ events: batch, metrics: batch }),
        errors: listOf(objectOf({ kind: { type: 'string', enum: ['events', 'metrics'] }, ...itemError })),
      },
      ['errors'],
    ),
    TrackedEvent: objectOf({
      data: objectOf({
        id: textSchema('Id of the event.'),
        name,
        timestamp: INSTANT_SCHEMA,
        user_id: nullableSchema('string', 'As sent.'),
        value: nullableSchema('number', 'As sent.'),
      }),
    }),
    Metric: objectOf(
      {
        name,
        type: { type: 'string', enum: METRIC_TYPES },
        tags: listOf({ type: 'string' }, { description: 'Every tag key of its points, sorted.' }),
        first_seen: { type: ['string', 'null'], format: 'date-time', description: 'Time of the earliest point.' },
        last_seen: { type: ['string', 'null'], format: 'date-time', description: 'Time of the latest point.' },
        data_points: countSchema('Points accepted so far; only in the response for a single metric.'),
      },
      ['data_points'],
    ),
    Event: objectOf({
      id: textSchema('Id of the event.'),
      name,
      timestamp: INSTANT_SCHEMA,
      value: nullableSchema('number', 'As sent.'),
      tags: TAGS_SCHEMA,
      properties: nullableSchema('object', 'As sent.'),
      ...Object.fromEntries(EVENT_TEXT_FIELDS.map((field) => [field, nullableSchema('string', 'As sent.')])),
    }),
    Bucket: {
      type: 'object',
      description:
        'The start of the bucket with `value`, or with one field per aggregation when several were requested.',
      properties: { timestamp: INSTANT_SCHEMA, value: { type: ['number', 'null'] } },
      required: ['timestamp'],
      additionalProperties: { type: ['number', 'null'] },
    },
    QueryResult: {
      anyOf: [
        objectOf({
          data: objectOf(
            {
              name,
              aggregation: textSchema('Present when a single aggregation was requested.'),
              interval: textSchema('Width of a bucket.', { examples: ['1h'] }),
              series: listOf(refTo('Bucket')),
            },
            ['aggregation'],
          ),
        }),
        objectOf(
          {
            data: objectOf({
              groups: {
                type: 'object',
                description: 'Keys are the values of the `group_by` tags, joined by commas, or series ids.',
                additionalProperties: listOf(refTo('Bucket')),
              },
            }),
            series: {
              type: 'object',
              description: 'With `group_by=series`: the tags of each series, by series id.',
              additionalProperties: TAGS_SCHEMA,
            },
          },
          ['series'],
        ),
      ],
    },
    GraphQLRequest: objectOf(
      {
        query: textSchema('The document.'),
        documentId: nullableSchema('string', 'The id of a persisted operation, in place of `query`.'),
        operationName: nullableSchema('string', 'The operation of the document to run.'),
        variables: nullableSchema('object', 'Values by name.'),
        extensions: nullableSchema('object', 'Protocol extensions, such as the hash of a persisted document.'),
      },
      ['query', 'documentId', 'operationName', 'variables', 'extensions'],
    ),
    GraphQLResult: {
      type: 'object',
      properties: {
        data: { type: ['object', 'null'] },
        errors: listOf(
          objectOf({ message: textSchema('An explanation, for people.'), extensions: { type: 'object' } }, [
            'extensions',
          ]),
        ),
      },
    },
  }
}
