/**
 * Every setting, from the environment, in one table: name, default, unit and meaning. docs/configuration.md shows the same rows.
 * A value that cannot be used stops the start and names its variable.
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
  { name: 'SET_RESOLUTIONS', default: '1m:6h,1h:90d,1d:400d', unit: 'step:kept', meaning: 'The same for sets.' },
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
    name: 'BODIES_BYTES_PER_ADDRESS_MAX',
    default: '67108864',
    unit: 'bytes',
    meaning: 'The same of one client address (see TRUST_PROXY); overloaded.',
  },
  {
    name: 'BODY_STALL_MS',
    default: '10000',
    unit: 'ms',
    meaning: 'How long a request body may take for its next 8 KiB or its end; request_timeout.',
  },
  {
    name: 'CONNECTIONS_MAX',
    default: '10000',
    unit: 'connections',
    meaning: 'Open connections of clients; those beyond it are closed at once.',
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
    name: 'TAG_KEYS_PER_METRIC_MAX',
    default: '1000',
    unit: 'tag keys',
    meaning: 'Different tag keys of one metric; invalid_tags.',
  },
  {
    name: 'METRICS_PER_PROJECT_MAX',
    default: '100000',
    unit: 'metrics',
    meaning:
      'Metrics of one project, a histogram or summary with its _sum and _count being three; metric_limit_exceeded.',
  },
  {
    name: 'NEW_METRICS_PER_REQUEST_MAX',
    default: '1000',
    unit: 'metrics',
    meaning: 'Metrics that one request may bring into being; metric_limit_exceeded.',
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
    meaning:
      'A live query that heard of no commit for so long is asked all the same; up to 16 times less often while its answer stays the same.',
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
  {
    name: 'BLOCK_CACHE_BYTES',
    default: '50331648',
    unit: 'bytes',
    meaning: 'Decoded blocks held for queries, with the objects around them.',
  },
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
