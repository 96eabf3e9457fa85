import {
  parseClusterNodes,
  parsePositiveInteger,
  parseRedisPrefix,
  parseRedisUrl,
  parseResolutions,
  parseRetentionMs,
  parseText,
  wholeNumberParser,
} from '../parsers.ts'
import type { Settings } from './setting.ts'

/** Where data is stored, in which resolutions, for how long, and when it is folded. */
export const STORAGE_SETTINGS = {
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
  fold: {
    inboxBytesMax: {
      name: 'FOLD_INBOX_BYTES',
      default: '1048576',
      unit: 'bytes',
      meaning:
        'Size at which the inbox of a partition is folded at once. With 256 blocks, it is folded whatever their size.',
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
} as const satisfies Readonly<Record<string, Settings>>
