import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { GatewayError } from '../../model/errors.ts'

/**
 * Connections to the server or the cluster. Commits have one of their own that never sends a command twice: when the answer is
 * lost, only the writer knows whether to offer the commit again. Everything else may be tried a little longer.
 */
export interface Connection {
  call(command: string, args: Value[]): Promise<unknown>
  callBuffer(command: string, args: Value[]): Promise<unknown>
}

/** An argument of a command. */
export type Value = string | number | Buffer

export interface Address {
  /** `redis://` or `rediss://`, with user, password and database. Of a cluster: only user, password and TLS count. */
  readonly url?: string
  /** `host:port` of some nodes; makes it a cluster. */
  readonly clusterNodes?: readonly string[]
}

export interface Connections {
  readonly isCluster: boolean
  /** Where, without a password: for people. */
  readonly name: string
  readonly commits: Connection
  readonly common: Connection
  /** A connection to each master. */
  masters(): readonly Connection[]
  /** Tells of messages of shard channels; resolves when it does. */
  subscribe(channels: readonly string[], heard: (channel: string, message: string) => void): Promise<void>
  close(): void
}

/** A commit that takes longer is offered again under the same number. */
const COMMIT_MS_MAX = 3_000
/** Of one command; a query has several. */
const COMMAND_MS_MAX = 10_000
/** Without a byte for so long, with commands outstanding, the connection is made anew. */
const SILENT_MS_MAX = 15_000
const CONNECT_MS_MAX = 5_000
const RECONNECT_PAUSE_MS_MAX = 500
/** A server that loads its data says how long it will yet take, and may be far out: it is asked again after so long at most. */
const LOADING_PAUSE_MS_MAX = 250
/** A master that hangs refuses nothing: which node serves what is asked anew now and then. */
const SLOTS_PAUSE_MS = 5_000
/** How long a server may take to be there when a gateway starts. */
const START_MS_MAX = 10_000

export interface Patience {
  /** How long to wait for a server that is not there yet. */
  readonly startMsMax?: number
  /** How long the answer to a command, other than a commit, is waited for. */
  readonly commandMsMax?: number
}

/** Rejects with an Error that says which server cannot be reached, and why. */
export async function connect(
  { url, clusterNodes }: Address,
  { startMsMax = START_MS_MAX, commandMsMax = COMMAND_MS_MAX }: Patience = {},
): Promise<Connections> {
  const waits = { startMsMax, commandMsMax }
  if (clusterNodes !== undefined && clusterNodes.length > 0) return connectCluster(url, clusterNodes, waits)
  if (url === undefined) throw new Error('neither the URL of a Redis server nor nodes of a cluster are given')
  return connectServer(url, waits)
}

const COMMON_OPTIONS = {
  lazyConnect: true,
  connectTimeout: CONNECT_MS_MAX,
  socketTimeout: SILENT_MS_MAX,
  maxLoadingRetryTime: LOADING_PAUSE_MS_MAX,
  protocol: 2,
  // A master that became a replica: its name may lead to the new one.
  reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
} satisfies RedisOptions

function reconnectPause(times: number): number {
  return Math.min(25 * times, RECONNECT_PAUSE_MS_MAX)
}

async function connectServer(url: string, { startMsMax, commandMsMax }: Required<Patience>): Promise<Connections> {
  const name = nameOf(url)
  const commits = new Redis(url, {
    ...COMMON_OPTIONS,
    retryStrategy: reconnectPause,
    commandTimeout: COMMIT_MS_MAX,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
  })
  const common = new Redis(url, {
    ...COMMON_OPTIONS,
    retryStrategy: reconnectPause,
    commandTimeout: commandMsMax,
    maxRetriesPerRequest: 3,
  })
  const opened: Redis[] = [commits, common]
  let isClosed = false
  const close = (): void => {
    isClosed = true
    for (const connection of opened) connection.disconnect()
  }
  try {
    await Promise.all(opened.map((connection) => untilReady(connection, name, startMsMax)))
  } catch (error) {
    close()
    throw error
  }
  return {
    isCluster: false,
    name,
    commits,
    common,
    masters: () => [common],
    async subscribe(channels, heard) {
      const subscriber = common.duplicate({ autoResubscribe: true, maxRetriesPerRequest: null })
      subscriber.on('error', () => undefined)
      subscriber.on('smessage', heard)
      await begin(subscriber, async () => {
        await subscriber.ssubscribe(...channels)
      })
      opened.push(subscriber)
      if (isClosed) close()
    },
    close,
  }
}

async function connectCluster(
  url: string | undefined,
  clusterNodes: readonly string[],
  { startMsMax, commandMsMax }: Required<Patience>,
): Promise<Connections> {
  const name = `the cluster of ${clusterNodes.join(', ')}`
  const nodes = clusterNodes.map(parseNode)
  const credentials = url === undefined ? {} : credentialsOf(url)
  const common = {
    clusterRetryStrategy: reconnectPause,
    lazyConnect: true,
    slotsRefreshTimeout: CONNECT_MS_MAX,
    slotsRefreshInterval: SLOTS_PAUSE_MS,
  }
  const commitOptions = {
    ...common,
    // A node that says it does not hold a slot has not run the command; that alone is followed.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    enableOfflineQueue: false,
    redisOptions: {
      ...COMMON_OPTIONS,
      ...credentials,
      commandTimeout: COMMIT_MS_MAX,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
    },
  } satisfies ClusterOptions
  const otherOptions = {
    ...common,
    redisOptions: { ...COMMON_OPTIONS, ...credentials, commandTimeout: commandMsMax, maxRetriesPerRequest: 3 },
  } satisfies ClusterOptions
  const commits = new Cluster(nodes, commitOptions)
  const other = new Cluster(nodes, otherOptions)
  const opened: Cluster[] = [commits, other]
  let isClosed = false
  const close = (): void => {
    isClosed = true
    for (const connection of opened) connection.disconnect()
  }
  try {
    await Promise.all(opened.map((connection) => untilReady(connection, name, startMsMax)))
    // A client of a cluster connects to a node when it first needs it, and without a queue refuses what comes meanwhile.
    await Promise.all(opened.flatMap((connection) => connection.nodes('master').map((node) => node.ping())))
  } catch (error) {
    close()
    throw error
  }
  return {
    isCluster: true,
    name,
    commits,
    common: other,
    masters: () => other.nodes('master'),
    async subscribe(channels, heard) {
      const subscriber = new Cluster(nodes, { ...otherOptions, shardedSubscribers: true })
      subscriber.on('error', () => undefined)
      subscriber.on('smessage', heard)
      await begin(subscriber, async () => {
        for (const channel of channels) await subscriber.ssubscribe(channel)
      })
      opened.push(subscriber)
      if (isClosed) close()
    },
    close,
  }
}

/** One that does not come about is not left behind. */
async function begin(subscriber: Redis | Cluster, subscribe: () => Promise<void>): Promise<void> {
  try {
    await subscriber.connect()
    await subscribe()
  } catch (error) {
    subscriber.disconnect()
    throw error
  }
}

/** A server may be starting too, or loading; wrong credentials and certificates do not come right by waiting. */
async function untilReady(connection: Redis | Cluster, name: string, startMsMax: number): Promise<void> {
  let cause: unknown
  const becomesReady = new Promise<void>((resolve, reject) => {
    connection.once('ready', resolve)
    // Also what keeps a lost connection from ending the process: commands reject, and say so.
    connection.on('error', (error: Error) => {
      cause = lastOf(error)
      if (isRefusal(cause)) reject(cause)
    })
  })
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(cause ?? new Error('no answer')), startMsMax)
  })
  try {
    connection.connect().catch((error: unknown) => {
      cause ??= error
    })
    await Promise.race([becomesReady, tooLate])
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`cannot use Redis at ${name}: ${reason}`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

/** A cluster's client says only that it tried all nodes; what the last of them said is beside it. */
function lastOf(error: unknown): unknown {
  if (error instanceof Error && 'lastNodeError' in error && error.lastNodeError instanceof Error)
    return error.lastNodeError
  return error
}

const REFUSALS = /^(WRONGPASS|NOAUTH|NOPERM|ERR (AUTH|invalid password|DB index|This instance))/
const REFUSED_CERTIFICATES = /CERT|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/

function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const isOfCertificate = 'code' in error && REFUSED_CERTIFICATES.test(String(error.code))
  return isOfCertificate || REFUSALS.test(error.message)
}

function nameOf(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
}

function parseNode(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':')
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
}

function credentialsOf(url: string): Pick<RedisOptions, 'username' | 'password' | 'tls'> {
  const { protocol, username, password } = new URL(url)
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' ? { tls: {} } : {}),
  }
}

/** Answers of a server that cannot serve now, and what the client says when it got no answer. */
const UNAVAILABLE_REPLIES =
  /^(OOM|READONLY|MISCONF|LOADING|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|NOREPLICAS|BUSY|MOVED|ASK|NOAUTH|WRONGPASS|UNBLOCKED)\b/
const UNAVAILABLE_CLIENT =
  /^(Command timed out|Connection is closed|Stream isn't writeable|Cluster isn't ready|Cluster is ended|Too many Cluster redirections|Failed to refresh slots cache|None of startup nodes|Reached the max retries per request|Socket timeout|Client network socket|write |read |connect )/
const UNAVAILABLE_CODES = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ENETDOWN)/

/** What a failed command means to the caller: an unavailable store, or a defect of ours, which stays what it is. */
export function asGatewayError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof GatewayError) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const unavailable =
    UNAVAILABLE_REPLIES.test(error.message) || UNAVAILABLE_CLIENT.test(error.message) || UNAVAILABLE_CODES.test(code)
  if (!unavailable) return error
  return new GatewayError('store_unavailable', 'the store does not answer', { cause: error })
}
