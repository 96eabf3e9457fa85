import { isIP } from 'node:net'
import { type Grant, hashKey, isProjectName, isScope } from '../access/api-keys.ts'
import { METRIC_NAME_UNITS_MAX } from '../model/metric.ts'
import { DEFAULT_POINT_LIMITS, type PointLimits } from '../model/point.ts'
import { DEFAULT_RATE_LIMITS, parseRateLimits, type RateLimits } from '../model/rate.ts'
import { formatDuration, parseDuration } from '../model/time.ts'
import { SCOPES } from '../store/api-keys.ts'
import { BUCKETS_PER_WINDOW } from '../store/store.ts'
import type { Resolution } from '../write/fold/fold.ts'
import { SETTINGS, type SettingName } from './settings.ts'

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
  readonly bodiesBytesPerAddressMax: number
  readonly bodyStallMs: number
  readonly connectionsMax: number
  readonly batchItemsMax: number
  readonly requestPointsMax: number
  readonly eventRetentionMs: number
  readonly eventBytesMax: number
  readonly eventsReadMax: number
  readonly seriesPerMetricMax: number
  readonly tagKeysPerMetricMax: number
  readonly metricsPerProjectMax: number
  readonly newMetricsPerRequestMax: number
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

/** What the environment says, each setting by its row of {@link SETTINGS}. Throws an Error that names the variable that cannot be used. */
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
      // A character may take two code units.
      nameCharsMax: whole('NAME_CHARS_MAX', 1, METRIC_NAME_UNITS_MAX / 2),
      tagKeyCharsMax: count('TAG_KEY_CHARS_MAX'),
      tagValueCharsMax: count('TAG_VALUE_CHARS_MAX'),
      tagsMax: count('TAGS_MAX'),
      setMemberCharsMax: count('SET_MEMBER_CHARS_MAX'),
      aheadMsMax: DEFAULT_POINT_LIMITS.aheadMsMax,
    },
    bodyBytesMax: count('BODY_BYTES_MAX'),
    bodiesBytesMax: count('BODIES_BYTES_MAX'),
    bodiesBytesPerAddressMax: count('BODIES_BYTES_PER_ADDRESS_MAX'),
    bodyStallMs: whole('BODY_STALL_MS', 1, TIMER_MS_MAX),
    connectionsMax: count('CONNECTIONS_MAX'),
    batchItemsMax: count('BATCH_ITEMS_MAX'),
    requestPointsMax: count('REQUEST_POINTS_MAX'),
    eventRetentionMs: readRetention(text('EVENT_RETENTION')),
    eventBytesMax: count('EVENT_BYTES_MAX'),
    eventsReadMax: count('EVENTS_READ_MAX'),
    seriesPerMetricMax: count('SERIES_PER_METRIC_MAX'),
    tagKeysPerMetricMax: count('TAG_KEYS_PER_METRIC_MAX'),
    metricsPerProjectMax: count('METRICS_PER_PROJECT_MAX'),
    newMetricsPerRequestMax: count('NEW_METRICS_PER_REQUEST_MAX'),
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
