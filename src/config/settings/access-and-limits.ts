import { METRIC_NAME_CODE_UNITS_MAX } from '../../model/metric.ts'
import { formatRateLimits, parseRateLimits, type RateLimits } from '../../model/rate.ts'
import {
  oneOfParser,
  parseGrantsByKeyHash,
  parseList,
  parsePositiveInteger,
  parseText,
  parseTimerMs,
  wholeNumberParser,
} from '../parsers.ts'
import type { Settings } from './setting.ts'

const DEFAULT_RATE_LIMITS: RateLimits = {
  single: 1_000,
  batch: 10,
  query: 60,
  graphql: 600,
  betterstack: 500,
  otlp: 3_000,
  write: 3_000,
}

/**
 * API keys, attributes of OTLP that become tags, introspection and persisted operations of GraphQL, and the limits of
 * requests, points, metrics, queries, live queries and memory.
 */
export const ACCESS_AND_LIMIT_SETTINGS = {
  access: {
    apiKeys: {
      name: 'API_KEYS',
      default: '',
      unit: 'key:project:scope+scope',
      meaning:
        'Keys of 8 characters or more, comma-separated, with scopes ingest, query, admin; they replace the keys in the store.',
      parse: parseGrantsByKeyHash,
    },
    rateLimits: {
      name: 'RATE_LIMITS',
      default: formatRateLimits(DEFAULT_RATE_LIMITS),
      unit: 'class=requests a minute',
      meaning:
        'Requests a minute of a key (betterstack: of a client address); rate_limited. Name the classes to change; class=off lifts one limit, off all of them.',
      parse: (text: string): RateLimits => ({ ...DEFAULT_RATE_LIMITS, ...parseRateLimits(text) }),
    },
  },
  limits: {
    bodyBytesMax: {
      name: 'BODY_BYTES_MAX',
      default: '20971520',
      unit: 'bytes',
      meaning: 'Request body, before and after decompression; payload_too_large.',
      parse: parsePositiveInteger,
    },
    batchItemsMax: {
      name: 'BATCH_ITEMS_MAX',
      default: '500',
      unit: 'items',
      meaning: 'Items in one batch; batch_too_large, nothing is stored.',
      parse: parsePositiveInteger,
    },
    eventBytesMax: {
      name: 'EVENT_BYTES_MAX',
      default: '32768',
      unit: 'bytes',
      meaning: 'One event as it is stored; payload_too_large.',
      parse: parsePositiveInteger,
    },
    otlpTags: {
      name: 'OTLP_TAGS',
      default: '',
      unit: 'attribute,…',
      meaning:
        'Resource and scope attributes of OTLP that become tags, besides service.name and service.instance.id; otel.scope.name and otel.scope.version stand for the name and version of the scope.',
      parse: parseList,
    },
  },
  points: {
    nameCharsMax: {
      name: 'NAME_CHARS_MAX',
      default: '255',
      unit: 'characters',
      meaning: 'Length of a metric name; missing_name.',
      // A character of a name takes up to two of the UTF-16 code units that `METRIC_NAME_CODE_UNITS_MAX` counts.
      parse: wholeNumberParser(1, METRIC_NAME_CODE_UNITS_MAX / 2),
    },
    tagsMax: {
      name: 'TAGS_MAX',
      default: '32',
      unit: 'tags',
      meaning: 'Tags of one point; invalid_tags.',
      parse: parsePositiveInteger,
    },
    tagKeyCharsMax: {
      name: 'TAG_KEY_CHARS_MAX',
      default: '128',
      unit: 'characters',
      meaning: 'Length of a tag key; invalid_tags.',
      parse: parsePositiveInteger,
    },
    tagValueCharsMax: {
      name: 'TAG_VALUE_CHARS_MAX',
      default: '256',
      unit: 'characters',
      meaning: 'Length of a tag value; invalid_tags.',
      parse: parsePositiveInteger,
    },
  },
  write: {
    seriesPerMetricMax: {
      name: 'SERIES_PER_METRIC_MAX',
      default: '100000',
      unit: 'series',
      meaning: 'Series of one metric; series_limit_exceeded.',
      parse: parsePositiveInteger,
    },
    tagKeysPerMetricMax: {
      name: 'TAG_KEYS_PER_METRIC_MAX',
      default: '1000',
      unit: 'tag keys',
      meaning: 'Different tag keys of one metric; invalid_tags.',
      parse: parsePositiveInteger,
    },
    metricsPerProjectMax: {
      name: 'METRICS_PER_PROJECT_MAX',
      default: '100000',
      unit: 'metrics',
      meaning:
        'Metrics of one project; a histogram or summary with its _sum and _count counts as three; metric_limit_exceeded.',
      parse: parsePositiveInteger,
    },
    newMetricsPerRequestMax: {
      name: 'NEW_METRICS_PER_REQUEST_MAX',
      default: '1000',
      unit: 'metrics',
      meaning: 'New metrics that one request may define; metric_limit_exceeded.',
      parse: parsePositiveInteger,
    },
    pendingBytesMax: {
      name: 'PENDING_BYTES_MAX',
      default: '67108864',
      unit: 'bytes',
      meaning: 'Memory of points that wait for a commit; overloaded.',
      parse: parsePositiveInteger,
    },
    storeWaitMsMax: {
      name: 'STORE_WAIT_MS_MAX',
      default: '5000',
      unit: 'ms',
      meaning: 'How long a request waits for a store that does not respond; store_unavailable.',
      parse: parseTimerMs,
    },
    retainedBytesMax: {
      name: 'RETAINED_BYTES',
      default: '134217728',
      unit: 'bytes',
      meaning:
        'Acknowledged commits kept for up to 30 s, to replay them when Redis loses its last second; with 0 none are kept and such a loss is final. The embedded store needs none.',
      parse: wholeNumberParser(0, Number.MAX_SAFE_INTEGER),
    },
  },
  query: {
    valuesMax: {
      name: 'QUERY_VALUES_MAX',
      default: '50000',
      unit: 'numbers',
      meaning: 'Numbers one query may return (groups × buckets × aggregations); query_too_large.',
      parse: parsePositiveInteger,
    },
    rollupsMax: {
      name: 'QUERY_ROLLUPS_MAX',
      default: '20000000',
      unit: 'rollups',
      meaning: 'Stored rollups that the queries of one request may read; query_too_large.',
      parse: parsePositiveInteger,
    },
    blockCacheBytesMax: {
      name: 'BLOCK_CACHE_BYTES',
      default: '8388608',
      unit: 'bytes',
      meaning: 'Cache of decoded blocks, including the objects around them.',
      parse: parsePositiveInteger,
    },
  },
  graphql: {
    documentDepthMax: {
      name: 'GRAPHQL_DEPTH_MAX',
      default: '20',
      unit: 'levels',
      meaning: 'Nesting of a GraphQL document; query_too_large.',
      parse: parsePositiveInteger,
    },
    documentTokensMax: {
      name: 'GRAPHQL_TOKENS_MAX',
      default: '50000',
      unit: 'tokens',
      meaning: 'Tokens of a GraphQL document; query_too_large.',
      parse: parsePositiveInteger,
    },
    documentAliasesMax: {
      name: 'GRAPHQL_ALIASES_MAX',
      default: '500',
      unit: 'aliases',
      meaning: 'Aliases of a GraphQL operation; query_too_large.',
      parse: parsePositiveInteger,
    },
    timeoutMs: {
      name: 'GRAPHQL_TIMEOUT_MS',
      default: '30000',
      unit: 'ms',
      meaning: 'How long a GraphQL operation may run; query_too_large, for a mutation store_unavailable.',
      parse: parseTimerMs,
    },
    isIntrospectionAllowed: {
      name: 'GRAPHQL_INTROSPECTION',
      default: 'on',
      unit: 'on or off',
      meaning: 'Whether clients may read the schema; when off, GraphiQL has no completion.',
      parse: (text: string): boolean => oneOfParser(['on', 'off'])(text) === 'on',
    },
  },
  persisted: {
    mode: {
      name: 'GRAPHQL_PERSISTED',
      default: 'optional',
      unit: 'mode',
      meaning:
        'Persisted operations, which clients send by hash or id: off, optional (registered ones, and those sent with their SHA-256 before), or enforced (only registered ones; forbidden).',
      parse: oneOfParser(['off', 'optional', 'enforced']),
    },
    operations: {
      name: 'GRAPHQL_OPERATIONS',
      default: '',
      unit: 'path',
      meaning: 'Registered operations: a JSON manifest, or a folder of manifests and .graphql files.',
      parse: parseText,
    },
  },
  live: {
    subscriptionsMax: {
      name: 'LIVE_SUBSCRIPTIONS_MAX',
      default: '1000',
      unit: 'subscriptions',
      meaning: 'Live queries of one process; overloaded.',
      parse: parsePositiveInteger,
    },
    subscriptionsPerKeyMax: {
      name: 'LIVE_SUBSCRIPTIONS_PER_KEY_MAX',
      default: '100',
      unit: 'subscriptions',
      meaning: 'Live queries of one key in one process; rate_limited.',
      parse: parsePositiveInteger,
    },
  },
} as const satisfies Readonly<Record<string, Settings>>
