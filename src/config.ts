import { isIP } from 'node:net'
import { type Grant, hashKey, isProjectName, isScope } from './keys.ts'
import { DEFAULT_POINT_LIMITS, type PointLimits } from './model/point.ts'
import { DEFAULT_RATE_LIMITS, parseRateLimits, type RateLimits } from './model/rate.ts'
import { formatDuration, parseDuration } from './model/time.ts'
import { BUCKETS_PER_WINDOW, SCOPES } from './store/store.ts'
import type { Resolution } from './write/fold.ts'

/**
 * Every setting, from the environment, in one table: name, default, unit and meaning. docs/configuration.md shows the same rows,
 * README some of them. A value that cannot be used stops the start and names its variable.
 */
export interface Setting {
  readonly name: string
  /** As it would stand in the environment. */
  readonly default: string
  readonly unit: string
  readonly meaning: string
}

export const SETTINGS = [
  {
    name: 'PORT',
    default: '4000',
    unit: 'port',
    meaning: 'Where to listen; 0 takes any free port. Unset and taken, the next free one of the ten after it.',
  },
  { name: 'HOST', default: '127.0.0.1', unit: 'address', meaning: 'The address to listen on; 0.0.0.0 for all.' },
  {
    name: 'GATEWAY_PROCESSES',
    default: '1',
    unit: 'processes',
    meaning:
      'Gateway processes that share the port, restarted when one dies. More than one needs Redis; bounds hold for each.',
  },
  { name: 'DATA_DIR', default: './data', unit: 'folder', meaning: 'Where the embedded store keeps its files.' },
  {
    name: 'REDIS_URL',
    default: '',
    unit: 'URL',
    meaning: 'redis:// or rediss://, with user, password and database: store in Redis instead of DATA_DIR.',
  },
  {
    name: 'REDIS_CLUSTER_NODES',
    default: '',
    unit: 'host:port,…',
    meaning: 'Some nodes of a Redis Cluster to store in. User, password and TLS are those of REDIS_URL, if set.',
  },
  { name: 'REDIS_PREFIX', default: 'gq', unit: 'text', meaning: 'What every key in Redis begins with.' },
  {
    name: 'PARTITIONS',
    default: '8',
    unit: 'partitions',
    meaning: 'Parts that metrics are spread over; fixed when the store is created.',
  },
  {
    name: 'RESOLUTIONS',
    default: '10s:6h,1m:7d,15m:35d,1h:400d,1d:5y',
    unit: 'step:kept',
    meaning:
      'Stored bucket widths and how long a window of each is kept after its last write. Steps are fixed when the store is created.',
  },
  { name: 'SET_RESOLUTIONS', default: '1m:6h,1h:35d,1d:400d', unit: 'step:kept', meaning: 'The same for sets.' },
  {
    name: 'EVENT_RETENTION',
    default: '90d',
    unit: 'duration',
    meaning: 'How long events are kept after they were sent.',
  },
  {
    name: 'API_KEYS',
    default: '',
    unit: 'key:project:scope+scope',
    meaning:
      'Keys of 8 characters or more, comma-separated, with scopes ingest, query, admin; instead of those in the store.',
  },
  {
    name: 'RATE_LIMITS',
    default: 'single=1000,batch=10,query=60,graphql=600,betterstack=500',
    unit: 'class=requests a minute',
    meaning:
      'Requests a minute of a key (betterstack: of a client address); rate_limited. Name those to change, class=off for no limit, off for none at all.',
  },
  {
    name: 'RATE_COUNTERS_MAX',
    default: '100000',
    unit: 'keys or addresses',
    meaning: 'Counted at a time for each class; beyond it the oldest start anew, without what they had leased.',
  },
  {
    name: 'TRUST_PROXY',
    default: 'off',
    unit: 'hops or addresses',
    meaning:
      'Whose X-Forwarded-For tells the client address: off, how many proxies stand before the gateway, or their addresses and CIDRs, comma-separated (loopback, linklocal and uniquelocal too).',
  },
  {
    name: 'CORS_ORIGINS',
    default: '',
    unit: 'origin,…',
    meaning: 'Origins whose pages may call the gateway from a browser, such as https://app.example; * for any.',
  },
  {
    name: 'DRAIN_MS',
    default: '0',
    unit: 'ms',
    meaning: 'After SIGTERM, how long /ready says no before the port closes, so that a load balancer notices.',
  },
  {
    name: 'CLOSE_MS_MAX',
    default: '30000',
    unit: 'ms',
    meaning: 'How long requests under way may take to be answered then; what is left is hung up on.',
  },
  { name: 'LOG_LEVEL', default: 'info', unit: 'level', meaning: 'fatal, error, warn, info, debug, trace or silent.' },
  { name: 'BODY_BYTES_MAX', default: '20971520', unit: 'bytes', meaning: 'Largest request body; payload_too_large.' },
  {
    name: 'BODIES_BYTES_MAX',
    default: '268435456',
    unit: 'bytes',
    meaning: 'Request bodies being received or worked on, together; overloaded.',
  },
  {
    name: 'BATCH_ITEMS_MAX',
    default: '500',
    unit: 'items',
    meaning: 'Items in one batch; batch_too_large, nothing stored.',
  },
  {
    name: 'REQUEST_POINTS_MAX',
    default: '1000000',
    unit: 'points',
    meaning: 'Points, and items, in one request of the Better Stack dialect; payload_too_large, nothing stored.',
  },
  { name: 'NAME_CHARS_MAX', default: '255', unit: 'characters', meaning: 'Length of a metric name; missing_name.' },
  { name: 'TAGS_MAX', default: '32', unit: 'tags', meaning: 'Tags of one point; invalid_tags.' },
  { name: 'TAG_KEY_CHARS_MAX', default: '128', unit: 'characters', meaning: 'Length of a tag key; invalid_tags.' },
  { name: 'TAG_VALUE_CHARS_MAX', default: '256', unit: 'characters', meaning: 'Length of a tag value; invalid_tags.' },
  {
    name: 'SET_MEMBER_CHARS_MAX',
    default: '1024',
    unit: 'characters',
    meaning: 'Length of a set member; invalid_value.',
  },
  {
    name: 'EVENT_BYTES_MAX',
    default: '32768',
    unit: 'bytes',
    meaning: 'One event as it is stored; payload_too_large.',
  },
  {
    name: 'SERIES_PER_METRIC_MAX',
    default: '100000',
    unit: 'series',
    meaning: 'Series of one metric; series_limit_exceeded.',
  },
  {
    name: 'SERIES_HELD_MAX',
    default: '1000000',
    unit: 'series',
    meaning: 'Series and tag paths held in memory, for writing and for querying each; beyond it they are learnt again.',
  },
  {
    name: 'ITEM_MEMORY_BYTES',
    default: '67108864',
    unit: 'bytes',
    meaning: 'Items of batches recognised by their bytes, for each project; beyond it they are learnt again.',
  },
  {
    name: 'QUERY_VALUES_MAX',
    default: '50000',
    unit: 'numbers',
    meaning: 'Numbers one query may answer (groups × buckets × aggregations); query_too_large.',
  },
  {
    name: 'QUERY_ROLLUPS_MAX',
    default: '20000000',
    unit: 'rollups',
    meaning: 'Stored rollups the queries of one request may read; query_too_large.',
  },
  {
    name: 'QUERY_AGGREGATIONS_MAX',
    default: '20',
    unit: 'aggregations',
    meaning: 'Aggregations of one query; query_too_large.',
  },
  { name: 'QUERY_GROUP_BY_MAX', default: '8', unit: 'keys', meaning: 'Tag keys to group by; invalid_group_by.' },
  { name: 'QUERY_TAG_VALUES_MAX', default: '1000', unit: 'values', meaning: 'Tag values to filter by; invalid_tags.' },
  { name: 'QUERY_WHERE_MAX', default: '20', unit: 'conditions', meaning: 'Conditions in where; invalid_tags.' },
  {
    name: 'QUERY_GLOB_CHARS_MAX',
    default: '256',
    unit: 'characters',
    meaning: 'Length of all globs of a query together; invalid_tags.',
  },
  {
    name: 'EVENTS_READ_MAX',
    default: '10000',
    unit: 'events',
    meaning: 'Events that one request looks at for those it wants; then its page ends and says where to go on.',
  },
  {
    name: 'GRAPHQL_DEPTH_MAX',
    default: '20',
    unit: 'levels',
    meaning: 'Nesting of a GraphQL document; query_too_large.',
  },
  {
    name: 'GRAPHQL_TOKENS_MAX',
    default: '50000',
    unit: 'tokens',
    meaning: 'Tokens of a GraphQL document; query_too_large.',
  },
  {
    name: 'GRAPHQL_FIELDS_MAX',
    default: '2000',
    unit: 'fields',
    meaning: 'Fields and fragments written in a GraphQL document; query_too_large.',
  },
  {
    name: 'GRAPHQL_QUERIES_MAX',
    default: '100',
    unit: 'queries',
    meaning: 'Metric queries one GraphQL request may run; query_too_large.',
  },
  {
    name: 'GRAPHQL_ALIASES_MAX',
    default: '500',
    unit: 'aliases',
    meaning: 'Aliases of a GraphQL operation; query_too_large.',
  },
  {
    name: 'GRAPHQL_ANSWER_FIELDS_MAX',
    default: '500000',
    unit: 'fields',
    meaning: 'Fields one GraphQL request may answer, 128 characters of tags or properties being one; query_too_large.',
  },
  {
    name: 'GRAPHQL_ROOT_FIELDS_MAX',
    default: '100',
    unit: 'fields',
    meaning: 'Fields of a GraphQL operation itself; query_too_large.',
  },
  {
    name: 'GRAPHQL_LIST_ITEMS_MAX',
    default: '1000',
    unit: 'items',
    meaning: 'Items of any list in a GraphQL request; query_too_large, in a mutation batch_too_large.',
  },
  {
    name: 'GRAPHQL_TIMEOUT_MS',
    default: '30000',
    unit: 'ms',
    meaning: 'How long a GraphQL operation may run; query_too_large, of a mutation store_unavailable.',
  },
  {
    name: 'GRAPHQL_INTROSPECTION',
    default: 'on',
    unit: 'on or off',
    meaning: 'Whether the schema may be asked for; off, GraphiQL knows no names.',
  },
  {
    name: 'GRAPHQL_PERSISTED',
    default: 'optional',
    unit: 'mode',
    meaning:
      'Documents named by a hash or an id: off, optional (registered ones, and those sent with their SHA-256 before), or enforced (registered ones alone; forbidden).',
  },
  {
    name: 'GRAPHQL_OPERATIONS',
    default: '',
    unit: 'path',
    meaning: 'Registered operations: a JSON manifest, or a folder of them and of .graphql files.',
  },
  {
    name: 'GRAPHQL_PERSISTED_CHARS_MAX',
    default: '4194304',
    unit: 'characters',
    meaning: 'Documents held that were sent with their SHA-256; beyond it clients send them again.',
  },
  {
    name: 'LIVE_SUBSCRIPTIONS_MAX',
    default: '1000',
    unit: 'subscriptions',
    meaning: 'Live queries of one process; overloaded.',
  },
  {
    name: 'LIVE_SUBSCRIPTIONS_PER_KEY_MAX',
    default: '100',
    unit: 'subscriptions',
    meaning: 'Live queries of one key in one process; rate_limited.',
  },
  {
    name: 'LIVE_POLL_MS',
    default: '10000',
    unit: 'ms',
    meaning: 'A live query that heard of no commit for so long is asked all the same.',
  },
  {
    name: 'LIVE_KEEP_ALIVE_MS',
    default: '15000',
    unit: 'ms',
    meaning: 'How often a stream shows that it is alive, and its key is looked at again.',
  },
  {
    name: 'LIVE_STALL_MS',
    default: '30000',
    unit: 'ms',
    meaning: 'How long the client of a stream may read nothing; overloaded.',
  },
  {
    name: 'LIVE_BUFFERED_BYTES_MAX',
    default: '67108864',
    unit: 'bytes',
    meaning: 'What clients of all streams have not read yet; overloaded.',
  },
  { name: 'BLOCK_CACHE_BYTES', default: '268435456', unit: 'bytes', meaning: 'Decoded blocks held for queries.' },
  {
    name: 'PENDING_BYTES_MAX',
    default: '67108864',
    unit: 'bytes',
    meaning: 'Rollups waiting for a commit; overloaded.',
  },
  {
    name: 'STORE_WAIT_MS_MAX',
    default: '5000',
    unit: 'ms',
    meaning: 'How long a request waits for a store that does not answer; store_unavailable.',
  },
  {
    name: 'FOLD_INBOX_BYTES',
    default: '4194304',
    unit: 'bytes',
    meaning: 'Inbox of a partition that is folded at once.',
  },
  {
    name: 'RETAINED_BYTES',
    default: '134217728',
    unit: 'bytes',
    meaning:
      'Acknowledged commits kept up to 30 s, to be given again to a store that lost its last second; 0 keeps none, and what such a store lost stays lost. The embedded store needs none.',
  },
  { name: 'FOLD_INBOX_AGE_MS', default: '15000', unit: 'ms', meaning: 'Age at which a smaller inbox is folded.' },
] as const satisfies readonly Setting[]

export type SettingName = (typeof SETTINGS)[number]['name']

export interface RedisConfig {
  readonly url: string | undefined
  /** Empty: one server. */
  readonly clusterNodes: readonly string[]
  readonly prefix: string
}

export interface Config {
  readonly port: number
  /** Whether PORT was set: then a taken port is an error. */
  readonly portIsFixed: boolean
  readonly host: string
  readonly processes: number
  readonly dataDir: string
  /** Undefined: the embedded store in `dataDir`. */
  readonly redis: RedisConfig | undefined
  readonly partitions: number
  readonly resolutions: readonly Resolution[]
  readonly setResolutions: readonly Resolution[]
  /** By hash. */
  readonly apiKeys: ReadonlyMap<string, Grant>
  readonly rateLimits: RateLimits
  readonly rateCountersMax: number
  /** Undefined: nobody; a number: so many hops; else addresses and CIDRs. */
  readonly trustProxy: number | readonly string[] | undefined
  /** Undefined: no other origin. */
  readonly corsOrigins: readonly string[] | '*' | undefined
  readonly drainMs: number
  readonly closeMsMax: number
  readonly logLevel: string
  readonly points: PointLimits
  readonly bodyBytesMax: number
  readonly bodiesBytesMax: number
  readonly batchItemsMax: number
  readonly requestPointsMax: number
  readonly eventRetentionMs: number
  readonly eventBytesMax: number
  readonly eventsReadMax: number
  readonly seriesPerMetricMax: number
  readonly seriesHeldMax: number
  readonly itemMemoryBytes: number
  readonly queryValuesMax: number
  readonly queryRollupsMax: number
  readonly queryAggregationsMax: number
  readonly queryGroupByMax: number
  readonly queryTagValuesMax: number
  readonly queryWhereMax: number
  readonly queryGlobCharsMax: number
  readonly graphqlDepthMax: number
  readonly graphqlTokensMax: number
  readonly graphqlFieldsMax: number
  readonly graphqlQueriesMax: number
  readonly graphqlAliasesMax: number
  readonly graphqlAnswerFieldsMax: number
  readonly graphqlRootFieldsMax: number
  readonly graphqlListItemsMax: number
  readonly graphqlTimeoutMs: number
  readonly graphqlIntrospection: boolean
  readonly graphqlPersisted: PersistedMode
  /** Empty: none are registered. */
  readonly graphqlOperations: string
  readonly graphqlPersistedCharsMax: number
  readonly liveSubscriptionsMax: number
  readonly liveSubscriptionsPerKeyMax: number
  readonly livePollMs: number
  readonly liveKeepAliveMs: number
  readonly liveStallMs: number
  readonly liveBufferedBytesMax: number
  readonly blockCacheBytes: number
  readonly pendingBytesMax: number
  readonly storeWaitMsMax: number
  readonly foldInboxBytes: number
  readonly foldInboxAgeMs: number
  readonly retainedBytes: number
}

/** Timers of Node run no longer. */
const TIMER_MS_MAX = 2_147_483_647

const PERSISTED_MODES = ['off', 'optional', 'enforced'] as const
export type PersistedMode = (typeof PERSISTED_MODES)[number]

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const text = (name: SettingName): string =>
    env[name]?.trim() || SETTINGS.find((setting) => setting.name === name)!.default
  const whole = (name: SettingName, min: number, max: number): number => {
    const value = Number(text(name))
    if (!/^\d+$/.test(text(name)) || value < min || value > max) {
      throw unusable(name, `must be a whole number from ${min} to ${max}, not ${JSON.stringify(text(name))}`)
    }
    return value
  }
  const count = (name: SettingName): number => whole(name, 1, Number.MAX_SAFE_INTEGER)
  const oneOf = <T extends string>(name: SettingName, values: readonly T[]): T => {
    const value = values.find((one) => one === text(name))
    if (value === undefined) throw unusable(name, `must be one of ${values.join(', ')}`)
    return value
  }
  const resolutions = readResolutions('RESOLUTIONS', text('RESOLUTIONS'))
  const setResolutions = readResolutions('SET_RESOLUTIONS', text('SET_RESOLUTIONS'))
  if (resolutions.at(-1)!.stepMs !== setResolutions.at(-1)!.stepMs) {
    throw unusable('SET_RESOLUTIONS', 'must end with the same step as RESOLUTIONS')
  }
  const redis = readRedis(text('REDIS_URL'), text('REDIS_CLUSTER_NODES'), text('REDIS_PREFIX'))
  const processes = whole('GATEWAY_PROCESSES', 1, 256)
  if (processes > 1 && redis === undefined) {
    throw unusable('GATEWAY_PROCESSES', 'above 1 needs Redis (REDIS_URL): the embedded store serves one process')
  }
  if (text('GRAPHQL_PERSISTED') === 'enforced' && text('GRAPHQL_OPERATIONS') === '') {
    throw unusable('GRAPHQL_OPERATIONS', 'must be set when GRAPHQL_PERSISTED is enforced: nothing could run')
  }
  return {
    port: whole('PORT', 0, 65_535),
    portIsFixed: Boolean(env['PORT']?.trim()),
    host: text('HOST'),
    processes,
    dataDir: text('DATA_DIR'),
    redis,
    partitions: whole('PARTITIONS', 1, 4_096),
    resolutions,
    setResolutions,
    apiKeys: readApiKeys(text('API_KEYS')),
    rateLimits: { ...DEFAULT_RATE_LIMITS, ...readRateLimits(text('RATE_LIMITS')) },
    rateCountersMax: count('RATE_COUNTERS_MAX'),
    trustProxy: readTrustProxy(text('TRUST_PROXY')),
    corsOrigins: readOrigins(text('CORS_ORIGINS')),
    drainMs: whole('DRAIN_MS', 0, TIMER_MS_MAX),
    closeMsMax: whole('CLOSE_MS_MAX', 1, TIMER_MS_MAX),
    logLevel: oneOf('LOG_LEVEL', LOG_LEVELS),
    points: {
      nameCharsMax: count('NAME_CHARS_MAX'),
      tagKeyCharsMax: count('TAG_KEY_CHARS_MAX'),
      tagValueCharsMax: count('TAG_VALUE_CHARS_MAX'),
      tagsMax: count('TAGS_MAX'),
      setMemberCharsMax: count('SET_MEMBER_CHARS_MAX'),
      aheadMsMax: DEFAULT_POINT_LIMITS.aheadMsMax,
    },
    bodyBytesMax: count('BODY_BYTES_MAX'),
    bodiesBytesMax: count('BODIES_BYTES_MAX'),
    batchItemsMax: count('BATCH_ITEMS_MAX'),
    requestPointsMax: count('REQUEST_POINTS_MAX'),
    eventRetentionMs: readRetention(text('EVENT_RETENTION')),
    eventBytesMax: count('EVENT_BYTES_MAX'),
    eventsReadMax: count('EVENTS_READ_MAX'),
    seriesPerMetricMax: count('SERIES_PER_METRIC_MAX'),
    seriesHeldMax: count('SERIES_HELD_MAX'),
    itemMemoryBytes: count('ITEM_MEMORY_BYTES'),
    queryValuesMax: count('QUERY_VALUES_MAX'),
    queryRollupsMax: count('QUERY_ROLLUPS_MAX'),
    queryAggregationsMax: count('QUERY_AGGREGATIONS_MAX'),
    queryGroupByMax: count('QUERY_GROUP_BY_MAX'),
    queryTagValuesMax: count('QUERY_TAG_VALUES_MAX'),
    queryWhereMax: count('QUERY_WHERE_MAX'),
    queryGlobCharsMax: count('QUERY_GLOB_CHARS_MAX'),
    graphqlDepthMax: count('GRAPHQL_DEPTH_MAX'),
    graphqlTokensMax: count('GRAPHQL_TOKENS_MAX'),
    graphqlFieldsMax: count('GRAPHQL_FIELDS_MAX'),
    graphqlQueriesMax: count('GRAPHQL_QUERIES_MAX'),
    graphqlAliasesMax: count('GRAPHQL_ALIASES_MAX'),
    graphqlAnswerFieldsMax: count('GRAPHQL_ANSWER_FIELDS_MAX'),
    graphqlRootFieldsMax: count('GRAPHQL_ROOT_FIELDS_MAX'),
    graphqlListItemsMax: count('GRAPHQL_LIST_ITEMS_MAX'),
    graphqlTimeoutMs: whole('GRAPHQL_TIMEOUT_MS', 1, TIMER_MS_MAX),
    graphqlIntrospection: oneOf('GRAPHQL_INTROSPECTION', ['on', 'off']) === 'on',
    graphqlPersisted: oneOf('GRAPHQL_PERSISTED', PERSISTED_MODES),
    graphqlOperations: text('GRAPHQL_OPERATIONS'),
    graphqlPersistedCharsMax: count('GRAPHQL_PERSISTED_CHARS_MAX'),
    liveSubscriptionsMax: count('LIVE_SUBSCRIPTIONS_MAX'),
    liveSubscriptionsPerKeyMax: count('LIVE_SUBSCRIPTIONS_PER_KEY_MAX'),
    livePollMs: whole('LIVE_POLL_MS', 1, TIMER_MS_MAX),
    liveKeepAliveMs: whole('LIVE_KEEP_ALIVE_MS', 1, TIMER_MS_MAX),
    liveStallMs: whole('LIVE_STALL_MS', 1, TIMER_MS_MAX),
    liveBufferedBytesMax: count('LIVE_BUFFERED_BYTES_MAX'),
    blockCacheBytes: count('BLOCK_CACHE_BYTES'),
    pendingBytesMax: count('PENDING_BYTES_MAX'),
    storeWaitMsMax: count('STORE_WAIT_MS_MAX'),
    foldInboxBytes: count('FOLD_INBOX_BYTES'),
    foldInboxAgeMs: count('FOLD_INBOX_AGE_MS'),
    retainedBytes: whole('RETAINED_BYTES', 0, Number.MAX_SAFE_INTEGER),
  }
}

function unusable(name: string, reason: string): Error {
  return new Error(`${name} ${reason}`)
}

/** `10s:6h,1m:7d`: steps ascend, each a multiple of the one before, and none is kept shorter than a finer one. */
function readResolutions(name: SettingName, text: string): readonly Resolution[] {
  const resolutions = text.split(',').map((row) => {
    const [step = '', kept = ''] = row.trim().split(':')
    const stepMs = parseDuration(step)
    const keptMs = readKept(kept)
    if (stepMs === undefined || stepMs < 1_000 || stepMs % 1_000 !== 0)
      throw unusable(name, `has a step that is no whole number of seconds: ${JSON.stringify(row)}`)
    if (keptMs === undefined || keptMs <= 0)
      throw unusable(name, `does not say how long a step is kept: ${JSON.stringify(row)}`)
    return { stepMs, keptMs }
  })
  for (const [i, { stepMs, keptMs }] of resolutions.entries()) {
    const finer = resolutions[i - 1]
    if (finer === undefined) continue
    if (stepMs <= finer.stepMs || stepMs % finer.stepMs !== 0) {
      throw unusable(
        name,
        `needs ascending steps, each a multiple of the one before: ${formatDuration(stepMs)} follows ${formatDuration(finer.stepMs)}`,
      )
    }
    // Else a bucket of this step would lie in two windows of the finer one, of which one may have expired.
    if (BUCKETS_PER_WINDOW % (stepMs / finer.stepMs) !== 0) {
      throw unusable(
        name,
        `needs steps whose ratio divides ${BUCKETS_PER_WINDOW}: ${formatDuration(stepMs)} follows ${formatDuration(finer.stepMs)}`,
      )
    }
    if (keptMs < finer.keptMs)
      throw unusable(name, `keeps ${formatDuration(stepMs)} shorter than the finer ${formatDuration(finer.stepMs)}`)
  }
  return resolutions
}

/** Messages name no part of the URL: it may hold a password. */
function readRedis(url: string, nodes: string, prefix: string): RedisConfig | undefined {
  if (url === '' && nodes === '') return undefined
  if (url !== '' && !(URL.canParse(url) && /^rediss?:$/.test(new URL(url).protocol))) {
    throw unusable('REDIS_URL', 'must be a URL that begins with redis:// or rediss://')
  }
  const clusterNodes = nodes === '' ? [] : nodes.split(',').map((node) => node.trim())
  if (!clusterNodes.every((node) => /^.+:\d{1,5}$/.test(node))) {
    throw unusable('REDIS_CLUSTER_NODES', 'must be host:port, comma-separated')
  }
  if (!/^[A-Za-z0-9._:-]{1,64}$/.test(prefix)) {
    throw unusable('REDIS_PREFIX', 'must have 1 to 64 of the characters A-Z a-z 0-9 . _ : -')
  }
  return { url: url === '' ? undefined : url, clusterNodes, prefix }
}

function readRateLimits(text: string): Partial<RateLimits> {
  try {
    return parseRateLimits(text)
  } catch (error) {
    throw unusable('RATE_LIMITS', error instanceof Error ? error.message : String(error))
  }
}

const PROXY_NAMES = ['loopback', 'linklocal', 'uniquelocal']
const HOPS_MAX = 100

function readTrustProxy(text: string): Config['trustProxy'] {
  if (text.toLowerCase() === 'off') return undefined
  if (/^\d+$/.test(text)) {
    const hops = Number(text)
    if (hops > HOPS_MAX) throw unusable('TRUST_PROXY', `must be at most ${HOPS_MAX} hops, off, or addresses`)
    return hops === 0 ? undefined : hops
  }
  const proxies = text.split(',').map((proxy) => proxy.trim())
  for (const proxy of proxies) {
    if (!PROXY_NAMES.includes(proxy) && !isNetwork(proxy))
      throw unusable('TRUST_PROXY', `must be off, hops, or addresses and CIDRs, not ${JSON.stringify(proxy)}`)
  }
  return proxies
}

function readOrigins(text: string): Config['corsOrigins'] {
  if (text === '') return undefined
  if (text === '*') return '*'
  const origins = text.split(',').map((origin) => origin.trim())
  for (const origin of origins) {
    // As browsers send it: a scheme, a host, a port that is not the scheme's own.
    if (!URL.canParse(origin) || new URL(origin).origin !== origin)
      throw unusable('CORS_ORIGINS', `must be * or origins such as https://app.example, not ${JSON.stringify(origin)}`)
  }
  return origins
}

/** An address, or a CIDR. */
function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

function readRetention(text: string): number {
  const keptMs = readKept(text)
  if (keptMs === undefined || keptMs <= 0)
    throw unusable('EVENT_RETENTION', `must be a duration such as 90d, not ${JSON.stringify(text)}`)
  return keptMs
}

/** A duration that may be in years. */
function readKept(text: string): number | undefined {
  const years = /^(\d+)y$/.exec(text)?.[1]
  return years === undefined ? parseDuration(text) : Number(years) * 365 * 86_400_000
}

function readApiKeys(text: string): ReadonlyMap<string, Grant> {
  const keys = new Map<string, Grant>()
  if (text === '') return keys
  for (const [i, row] of text.split(',').entries()) {
    const [key = '', project = '', scopeList = '', ...rest] = row.trim().split(':')
    const scopes = scopeList.split('+').filter(isScope)
    // The row is named by its place: a message must not hold a key.
    if (key.length < 8 || rest.length > 0)
      throw unusable('API_KEYS', `row ${i + 1} must be key:project:scope+scope with a key of at least 8 characters`)
    if (!isProjectName(project))
      throw unusable('API_KEYS', `row ${i + 1} needs a project of 1 to 64 of the characters A-Z a-z 0-9 . _ -`)
    if (scopes.length === 0 || scopes.length !== scopeList.split('+').length)
      throw unusable('API_KEYS', `row ${i + 1} needs scopes out of ${SCOPES.join(', ')}`)
    const hash = hashKey(key)
    // The later row would take the key from the project of the first.
    if (keys.has(hash)) throw unusable('API_KEYS', `row ${i + 1} has the key of an earlier row`)
    keys.set(hash, { project, scopes })
  }
  return keys
}
