import { METRIC_NAME_CODE_UNITS_MAX } from '../model/metric.ts'
import { formatRateLimits, parseRateLimits, type RateLimits } from '../model/rate.ts'
import {
  oneOfParser,
  parseClusterNodes,
  parseGrantsByKeyHash,
  parseList,
  parseOrigins,
  parsePositiveInteger,
  parseRedisPrefix,
  parseRedisUrl,
  parseResolutions,
  parseRetentionMs,
  parseText,
  parseTimerMs,
  parseTrustProxy,
  TIMER_MS_MAX,
  wholeNumberParser,
} from './parsers.ts'

/**
 * All settings (environment variables) in one table, grouped by the part of the program that uses them.
 * docs/configuration.md has the same rows in the same order. Limits that users cannot configure are constants in the
 * code that enforces them; docs/limits.md lists both kinds.
 */

export interface Setting<T> {
  /** The name of the environment variable. */
  readonly name: string
  /** The default, as a text of the environment. */
  readonly default: string
  readonly unit: string
  readonly meaning: string
  /**
   * Converts the trimmed text of the variable, or the default if it is empty, to a value. Throws an Error whose message
   * continues a sentence that begins with the name of the variable.
   */
  readonly parse: (text: string) => T
}

/** The settings of one part of the program, by their property names. */
export type Settings = Readonly<Record<string, Setting<unknown>>>

export type ValuesOf<S extends Settings> = { readonly [Field in keyof S]: ReturnType<S[Field]['parse']> }

const DEFAULT_RATE_LIMITS: RateLimits = {
  single: 1_000,
  batch: 10,
  query: 60,
  graphql: 600,
  betterstack: 500,
  otlp: 3_000,
  write: 3_000,
}

export const SETTINGS_TABLE = {
  http: {
    port: {
      name: 'PORT',
      default: '4000',
      unit: 'port',
      meaning:
        'The port to listen on; 0 takes any free port. If it is not set and 4000 is in use, the next free port up to 4010.',
      parse: wholeNumberParser(0, 65_535),
    },
    host: {
      name: 'HOST',
      default: '127.0.0.1',
      unit: 'address',
      meaning: 'The address to listen on; 0.0.0.0 for all, :: for all with IPv6.',
      parse: parseText,
    },
    trustProxy: {
      name: 'TRUST_PROXY',
      default: 'off',
      unit: 'hops or addresses',
      meaning:
        'Which proxies may report the client address in X-Forwarded-For: off, the number of proxies before the gateway, or their addresses and CIDRs, comma-separated (also loopback, linklocal and uniquelocal).',
      parse: parseTrustProxy,
    },
    corsOrigins: {
      name: 'CORS_ORIGINS',
      default: '',
      unit: 'origin,…',
      meaning: 'Origins whose pages may call the gateway from a browser, such as https://app.example; * for any.',
      parse: parseOrigins,
    },
    connectionsMax: {
      name: 'CONNECTIONS_MAX',
      default: '10000',
      unit: 'connections',
      meaning: 'Open connections of clients; further ones are closed at once.',
      parse: parsePositiveInteger,
    },
    bodiesBytesMax: {
      name: 'BODIES_BYTES_MAX',
      default: '268435456',
      unit: 'bytes',
      meaning: 'All request bodies that are being received or processed, together; overloaded.',
      parse: parsePositiveInteger,
    },
    bodiesBytesPerNetworkMax: {
      name: 'BODIES_BYTES_PER_ADDRESS_MAX',
      default: '67108864',
      unit: 'bytes',
      meaning: 'The same for one client address (see TRUST_PROXY); overloaded.',
      parse: parsePositiveInteger,
    },
  },
  process: {
    processes: {
      name: 'GATEWAY_PROCESSES',
      default: '1',
      unit: 'processes',
      meaning:
        'Gateway processes that share the port, each restarted when it dies. More than one needs Redis. Limits hold for each process.',
      parse: wholeNumberParser(1, 256),
    },
    drainMs: {
      name: 'DRAIN_MS',
      default: '0',
      unit: 'ms',
      meaning: 'After SIGTERM, how long /ready fails before the port closes, so that a load balancer notices.',
      parse: wholeNumberParser(0, TIMER_MS_MAX),
    },
    closeMsMax: {
      name: 'CLOSE_MS_MAX',
      default: '30000',
      unit: 'ms',
      meaning: 'How long running requests may take after that; then their connections are closed.',
      parse: parseTimerMs,
    },
    logLevel: {
      name: 'LOG_LEVEL',
      default: 'info',
      unit: 'level',
      meaning: 'fatal, error, warn, info, debug, trace or silent.',
      parse: oneOfParser(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    },
  },
  store: {
    folder: {
      name: 'DATA_DIR',
      default: './data',
      unit: 'folder',
      meaning: 'Where the embedded store keeps its files.',
      parse: parseText,
    },
    partitions: {
      name: 'PARTITIONS',
      default: '8',
      unit: 'partitions',
      meaning: 'Partitions that metrics are spread over; fixed when the store is created.',
      parse: wholeNumberParser(1, 4_096),
    },
    resolutions: {
      name: 'RESOLUTIONS',
      default: '10s:6h,1m:7d,15m:35d,1h:400d,1d:5y',
      unit: 'step:kept',
      meaning:
        'Widths of stored buckets, and how long a window of each is kept after its last write. Widths are fixed when the store is created.',
      parse: parseResolutions,
    },
    setResolutions: {
      name: 'SET_RESOLUTIONS',
      default: '1m:6h,1h:90d,1d:400d',
      unit: 'step:kept',
      meaning: 'The same for sets.',
      parse: parseResolutions,
    },
  },
  redis: {
    url: {
      name: 'REDIS_URL',
      default: '',
      unit: 'URL',
      meaning: 'redis:// or rediss://, with user, password and database: stores data in Redis instead of DATA_DIR.',
      parse: parseRedisUrl,
    },
    clusterNodes: {
      name: 'REDIS_CLUSTER_NODES',
      default: '',
      unit: 'host:port,…',
      meaning: 'Some nodes of the Redis Cluster that stores data. User, password and TLS come from REDIS_URL, if set.',
      parse: parseClusterNodes,
    },
    prefix: {
      name: 'REDIS_PREFIX',
      default: 'gq',
      unit: 'text',
      meaning: 'The beginning of every key in Redis.',
      parse: parseRedisPrefix,
    },
  },
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
        'Resource and scope attributes of OTLP that become tags, beside service.name and service.instance.id; otel.scope.name and otel.scope.version are those of the scope itself.',
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
      meaning: 'Rollups waiting for a commit; overloaded.',
      parse: parsePositiveInteger,
    },
    storeWaitMsMax: {
      name: 'STORE_WAIT_MS_MAX',
      default: '5000',
      unit: 'ms',
      meaning: 'How long a request waits for a store that does not respond; store_unavailable.',
      parse: parsePositiveInteger,
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
  fold: {
    inboxBytesMax: {
      name: 'FOLD_INBOX_BYTES',
      default: '1048576',
      unit: 'bytes',
      meaning: 'Size at which the inbox of a partition is folded at once.',
      parse: parsePositiveInteger,
    },
    inboxAgeMsMax: {
      name: 'FOLD_INBOX_AGE_MS',
      default: '15000',
      unit: 'ms',
      meaning: 'Age at which a smaller inbox is folded.',
      parse: parsePositiveInteger,
    },
    eventsKeptMs: {
      name: 'EVENT_RETENTION',
      default: '90d',
      unit: 'duration',
      meaning: 'How long events are kept after they were sent.',
      parse: parseRetentionMs,
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
      default: '16777216',
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

/** All rows of the table, in its order. */
export const ALL_SETTINGS: readonly Setting<unknown>[] = Object.values(SETTINGS_TABLE).flatMap(
  (settings): Setting<unknown>[] => Object.values(settings),
)
