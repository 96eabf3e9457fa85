import {
  oneOfParser,
  parseOrigins,
  parsePositiveInteger,
  parseText,
  parseTimerMs,
  parseTrustProxy,
  TIMER_MS_MAX,
  wholeNumberParser,
} from '../parsers.ts'
import type { Settings } from './setting.ts'

/** The HTTP server, its processes and their log. */
export const SERVER_SETTINGS = {
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
        'Gateway processes that share the port, each restarted when it dies. More than one needs Redis. Limits of connections, memory and live queries hold for each process.',
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
} as const satisfies Readonly<Record<string, Settings>>
