import { EVENT_TEXT_FIELDS } from '../../model/event.ts'
import { METRIC_TYPES, TRACKED_TYPES } from '../../model/metric.ts'
import type { FluxLimits } from '../flux/flux-routes.ts'
import { ERROR_CODES } from '../server/error-table.ts'

/** A JSON Schema of draft 2020-12, as OpenAPI 3.1 takes it. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
}

export const refTo = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` })

export const listOf = (items: JsonSchema, more: JsonSchema = {}): JsonSchema => ({ type: 'array', items, ...more })

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

const text = (description: string, more: JsonSchema = {}): JsonSchema => ({ type: 'string', description, ...more })
const count = (description: string): JsonSchema => ({ type: 'integer', minimum: 0, description })
const nullable = (type: string, description: string): JsonSchema => ({ type: [type, 'null'], description })

const INSTANT = text('RFC 3339, in UTC.', { format: 'date-time', examples: ['2024-01-15T10:30:00Z'] })
const TAGS = { type: 'object', additionalProperties: { type: 'string' } }

/** The shapes that requests and answers share, by name. */
export function componentSchemas({
  points,
  batchItemsMax,
  eventBytesMax,
}: FluxLimits): Readonly<Record<string, JsonSchema>> {
  const name = text('Name of a metric or an event.', { minLength: 1, maxLength: points.nameCharsMax })
  const itemError = {
    index: count('Position of the item in the request.'),
    code: refTo('ErrorCode'),
    message: text('For people.'),
  }
  const batch = objectOf({ accepted: count('Items stored.'), rejected: count('Items left out.') })
  return {
    ErrorCode: { type: 'string', enum: ERROR_CODES, description: 'What went wrong, for programs.' },
    Error: objectOf({
      error: objectOf(
        {
          code: refTo('ErrorCode'),
          message: text('For people.'),
          details: { type: 'object', description: 'What would help, such as a limit.' },
        },
        ['details'],
      ),
    }),
    Instant: {
      description: 'RFC 3339 with any offset, or UNIX seconds, milliseconds, microseconds or nanoseconds by magnitude.',
      type: ['string', 'number', 'null'],
      examples: ['2024-01-15T10:30:00Z', 1_705_314_600],
    },
    TagsInput: {
      type: ['object', 'null'],
      description: `At most ${points.tagsMax} tags. Numbers and booleans are stored as text, null is dropped.`,
      propertyNames: { minLength: 1, maxLength: points.tagKeyCharsMax },
      additionalProperties: { type: ['string', 'number', 'boolean', 'null'] },
      examples: [{ endpoint: '/users', status: 200 }],
    },
    MetricInput: objectOf(
      {
        name,
        type: { type: 'string', enum: TRACKED_TYPES },
        value: { type: ['number', 'string'], description: 'A finite number; of a set one member, a string.' },
        timestamp: refTo('Instant'),
        tags: refTo('TagsInput'),
        unit: nullable('string', 'Kept from the first point.'),
        description: nullable('string', 'Kept from the first point.'),
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
          value: nullable('number', 'Any number.'),
          timestamp: refTo('Instant'),
          tags: refTo('TagsInput'),
          properties: nullable('object', 'Any JSON.'),
          ...Object.fromEntries(EVENT_TEXT_FIELDS.map((field) => [field, nullable('string', 'As sent.')])),
        },
        ['value', 'timestamp', 'tags', 'properties', ...EVENT_TEXT_FIELDS],
      ),
      description: `Kept whole, at most ${eventBytesMax} bytes.`,
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
        timestamp: INSTANT,
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
        id: text('Id of the event.'),
        name,
        timestamp: INSTANT,
        user_id: nullable('string', 'As sent.'),
        value: nullable('number', 'As sent.'),
      }),
    }),
    Metric: objectOf(
      {
        name,
        type: { type: 'string', enum: METRIC_TYPES },
        tags: listOf({ type: 'string' }, { description: 'Every tag key its points have had, sorted.' }),
        first_seen: { type: ['string', 'null'], format: 'date-time', description: 'Least time of a point.' },
        last_seen: { type: ['string', 'null'], format: 'date-time', description: 'Greatest time of a point.' },
        data_points: count('Points ever accepted; only when one metric is asked for.'),
      },
      ['data_points'],
    ),
    Event: objectOf({
      id: text('Id of the event.'),
      name,
      timestamp: INSTANT,
      value: nullable('number', 'As sent.'),
      tags: TAGS,
      properties: nullable('object', 'As sent.'),
      ...Object.fromEntries(EVENT_TEXT_FIELDS.map((field) => [field, nullable('string', 'As sent.')])),
    }),
    Bucket: {
      type: 'object',
      description:
        'A bucket by its start, with `value`, or with a field for each aggregation when several were asked for.',
      properties: { timestamp: INSTANT, value: { type: ['number', 'null'] } },
      required: ['timestamp'],
      additionalProperties: { type: ['number', 'null'] },
    },
    QueryResult: {
      anyOf: [
        objectOf({
          data: objectOf(
            {
              name,
              aggregation: text('When one was asked for.'),
              interval: text('Width of a bucket.', { examples: ['1h'] }),
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
                description: 'By the values of the tags grouped by, joined by commas, or by `series_id`.',
                additionalProperties: listOf(refTo('Bucket')),
              },
            }),
            series: {
              type: 'object',
              description: 'With `group_by=series`: the tags of each.',
              additionalProperties: TAGS,
            },
          },
          ['series'],
        ),
      ],
    },
    GraphQLRequest: objectOf(
      {
        query: text('The document.'),
        operationName: nullable('string', 'Which of its operations.'),
        variables: nullable('object', 'By name.'),
        extensions: nullable('object', 'Of the protocol, such as the hash of a persisted document.'),
      },
      ['query', 'operationName', 'variables', 'extensions'],
    ),
    GraphQLResult: {
      type: 'object',
      properties: {
        data: { type: ['object', 'null'] },
        errors: listOf(objectOf({ message: text('For people.'), extensions: { type: 'object' } }, ['extensions'])),
      },
    },
  }
}
