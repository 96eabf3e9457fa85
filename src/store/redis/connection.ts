import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { GatewayError } from '../../model/errors.ts'
import { withTimeout } from '../../model/with-timeout.ts'

/**
 * Connects to a Redis server or cluster. Commits have a connection of their own, on which the client never sends a
 * command again after a lost reply: the writer retries the commit itself. On the common connection, the client may send
 * a command again.
 */
export interface Connection {
  call(command: string, args: CommandArgument[]): Promise<unknown>
  callBuffer(command: string, args: CommandArgument[]): Promise<unknown>
}

export type CommandArgument = string | number | Buffer

export interface Address {
  /**
   * `redis://` or `rediss://`, with user, password and database. A cluster uses only its user, password and TLS.
   */
  readonly url?: string | undefined
  /** `host:port` of some nodes of a cluster. */
  readonly clusterNodes?: readonly string[]
}

export interface Connections {
  readonly isCluster: boolean
  /** The address without user and password, for messages. */
  readonly name: string
  /** Used by `append` only. The client never sends a command again after a lost reply. */
  readonly commits: Connection
  /** Used for everything but `append` and subscriptions. The client may send a command again after a lost reply. */
  readonly common: Connection
  /** Returns a connection to each master. */
  masters(): readonly Connection[]
  /** Subscribes to shard channels. Resolves when all subscriptions are active. */
  subscribe(channels: readonly string[], onMessage: (message: string) => void): Promise<void>
  close(): void
}

/** Timeout of a commit. After it, the writer retries the commit with the same commit number. */
const COMMIT_TIMEOUT_MS = 3_000
/** Default timeout of a command that is not a commit. A query sends several commands. */
const COMMAND_TIMEOUT_MS = 10_000
/** A connection that waits for replies and receives nothing for this long is closed and opened again. */
const SILENCE_TIMEOUT_MS = 15_000
const CONNECT_TIMEOUT_MS = 5_000
const RECONNECT_PAUSE_MS_MAX = 500
/**
 * Maximum pause before the client asks a server again that is loading its data. By default, the client waits for the
 * time that the server estimates, up to 10 s, which is often too long.
 */
const LOADING_PAUSE_MS_MAX = 250
/**
 * How often the client of a cluster reads which node has which slots. Without this, it would read them only after an
 * error, and a master that does not respond returns no error.
 */
const SLOTS_REFRESH_MS = 5_000
/** Default time that a starting gateway waits until the server or cluster is ready. */
const START_TIMEOUT_MS = 10_000

/** Timeouts that replace the defaults. */
export interface Timeouts {
  /** How long to wait for the server at the start. Only tests set it. */
  readonly startTimeoutMs?: number
  /** Timeout of a command that is not a commit. A gateway sets `storeWaitMsMax`, the time that its requests wait. */
  readonly commandTimeoutMs?: number
}

/**
 * Connects to the cluster if `clusterNodes` has any, otherwise to the server at `url`. If the server or cluster cannot
 * be used, rejects with an Error that has the address and the reason.
 */
export async function connect(
  { url, clusterNodes }: Address,
  { startTimeoutMs = START_TIMEOUT_MS, commandTimeoutMs = COMMAND_TIMEOUT_MS }: Timeouts = {},
): Promise<Connections> {
  const timeouts = { startTimeoutMs, commandTimeoutMs }
  if (clusterNodes !== undefined && clusterNodes.length > 0) return connectCluster(url, clusterNodes, timeouts)
  if (url === undefined) throw new Error('neither the URL of a Redis server nor nodes of a cluster are given')
  return connectServer(url, timeouts)
}

const BASE_OPTIONS = {
  lazyConnect: true,
  connectTimeout: CONNECT_TIMEOUT_MS,
  socketTimeout: SILENCE_TIMEOUT_MS,
  maxLoadingRetryTime: LOADING_PAUSE_MS_MAX,
  protocol: 2,
  // The reply READONLY means that the master has become a replica. The client then connects again, because the host
  // name may now resolve to the new master.
  reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
} satisfies RedisOptions

const COMMIT_OPTIONS = {
  commandTimeout: COMMIT_TIMEOUT_MS,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
} satisfies RedisOptions

function reconnectPauseMs(attempt: number): number {
  return Math.min(25 * attempt, RECONNECT_PAUSE_MS_MAX)
}

async function connectServer(
  url: string,
  { startTimeoutMs, commandTimeoutMs }: Required<Timeouts>,
): Promise<Connections> {
  const options = { ...BASE_OPTIONS, retryStrategy: reconnectPauseMs }
  const commits = new Redis(url, { ...options, ...COMMIT_OPTIONS, enableOfflineQueue: false })
  const common = new Redis(url, { ...options, commandTimeout: commandTimeoutMs, maxRetriesPerRequest: 3 })
  const newSubscriber = (): Redis => common.duplicate({ autoResubscribe: true, maxRetriesPerRequest: null })
  return openConnections({ name: displayAddressOf(url), commits, common, newSubscriber }, startTimeoutMs)
}

async function connectCluster(
  url: string | undefined,
  clusterNodes: readonly string[],
  { startTimeoutMs, commandTimeoutMs }: Required<Timeouts>,
): Promise<Connections> {
  const nodes = clusterNodes.map(parseNode)
  const options = {
    clusterRetryStrategy: reconnectPauseMs,
    lazyConnect: true,
    slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
  }
  const nodeOptions = { ...BASE_OPTIONS, ...(url === undefined ? {} : credentialsOf(url)) }
  const commits = new Cluster(nodes, {
    ...options,
    // The client sends a command again only after a redirection or TRYAGAIN: then the node has not run the command.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    enableOfflineQueue: false,
    redisOptions: { ...nodeOptions, ...COMMIT_OPTIONS },
  })
  const commonOptions = {
    ...options,
    redisOptions: { ...nodeOptions, commandTimeout: commandTimeoutMs, maxRetriesPerRequest: 3 },
  }
  const common = new Cluster(nodes, commonOptions)
  const newSubscriber = (): Cluster => new Cluster(nodes, { ...commonOptions, shardedSubscribers: true })
  return openConnections(
    { name: `the cluster of ${clusterNodes.join(', ')}`, commits, common, newSubscriber },
    startTimeoutMs,
  )
}

interface Clients {
  readonly name: string
  readonly commits: Redis | Cluster
  readonly common: Redis | Cluster
  readonly newSubscriber: () => Redis | Cluster
}

/** Connects the clients. If the server or cluster cannot be used, closes them and rejects. */
async function openConnections(
  { name, commits, common, newSubscriber }: Clients,
  startTimeoutMs: number,
): Promise<Connections> {
  const openClients = [commits, common]
  let isClosed = false
  const close = (): void => {
    isClosed = true
    for (const client of openClients) client.disconnect()
  }
  try {
    await Promise.all(openClients.map((client) => untilReady(client, startTimeoutMs)))
    // A cluster client connects to a node only for its first command. The commit client has no queue: without this
    // ping, it would reject the first commit to each node.
    await Promise.all(openClients.flatMap(mastersOf).map((node) => node.ping()))
  } catch (error) {
    close()
    throw unusableServerError(name, error)
  }
  return {
    isCluster: common instanceof Cluster,
    name,
    commits,
    common,
    masters: () => mastersOf(common),
    async subscribe(channels, onMessage) {
      const subscriber = newSubscriber()
      subscriber.on('error', () => undefined)
      subscriber.on('smessage', (_channel: string, message: string) => onMessage(message))
      try {
        await subscriber.connect()
        // One command per channel: in a cluster, a command must not have channels of several slots.
        for (const channel of channels) await subscriber.ssubscribe(channel)
      } catch (error) {
        subscriber.disconnect()
        throw error
      }
      openClients.push(subscriber)
      if (isClosed) close()
    },
    close,
  }
}

function mastersOf(client: Redis | Cluster): Redis[] {
  return client instanceof Cluster ? client.nodes('master') : [client]
}

/** Waits until the client is connected. Rejects at once on an error that waiting cannot fix, like a wrong password. */
async function untilReady(client: Redis | Cluster, startTimeoutMs: number): Promise<void> {
  let lastError: unknown
  const readyPromise = new Promise<void>((resolve, reject) => {
    client.once('ready', resolve)
    // Without a listener for `error`, the client would write each error of the connection to stderr.
    client.on('error', (error: Error) => {
      lastError = lastNodeError(error)
      if (isPermanentError(lastError)) reject(lastError)
    })
  })
  client.connect().catch((error: unknown) => {
    lastError ??= error
  })
  await withTimeout(
    startTimeoutMs,
    () => readyPromise,
    () => {
      throw lastError ?? new Error('no response')
    },
  )
}

/**
 * Returns the error with which a start fails. It has the address `name` and the reason; an error whose message has the
 * address already stays as it is.
 */
export function unusableServerError(name: string, error: unknown): Error {
  if (error instanceof Error && error.message.includes(name)) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new Error(`cannot use Redis at ${name}: ${reason}`, { cause: error })
}

/**
 * An error of a cluster client may say no more than that all nodes have failed. If the client has attached the error of
 * a node, returns the attached error; otherwise returns `error`.
 */
function lastNodeError(error: unknown): unknown {
  if (error instanceof Error && 'lastNodeError' in error && error.lastNodeError instanceof Error)
    return error.lastNodeError
  return error
}

const PERMANENT_ERRORS = /^(WRONGPASS|NOAUTH|NOPERM|ERR (AUTH|invalid password|DB index|This instance))/
const CERTIFICATE_ERRORS = /CERT|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/

function isPermanentError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const isCertificateError = 'code' in error && CERTIFICATE_ERRORS.test(String(error.code))
  return isCertificateError || PERMANENT_ERRORS.test(error.message)
}

function displayAddressOf(url: string): string {
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

/** Error replies of a server that is unavailable. */
const UNAVAILABLE_REPLIES =
  /^(OOM|READONLY|MISCONF|LOADING|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|NOREPLICAS|BUSY|MOVED|ASK|NOAUTH|WRONGPASS|UNBLOCKED)\b/
/** Errors of the client if it gets no reply. */
const UNAVAILABLE_CLIENT_ERRORS =
  /^(Command timed out|Connection is closed|Stream isn't writeable|Cluster isn't ready|Cluster is ended|Too many Cluster redirections|Failed to refresh slots cache|None of startup nodes|Reached the max retries per request|Socket timeout|Client network socket|write |read |connect )/
/** Codes of errors of sockets and of name resolution. */
const UNAVAILABLE_CODES = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ENETDOWN)/

/**
 * Returns `store_unavailable` for an error of an unavailable server. Returns all other errors, and a `GatewayError`,
 * unchanged.
 */
export function asGatewayError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof GatewayError) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const isUnavailable =
    UNAVAILABLE_REPLIES.test(error.message) ||
    UNAVAILABLE_CLIENT_ERRORS.test(error.message) ||
    UNAVAILABLE_CODES.test(code)
  if (!isUnavailable) return error
  return new GatewayError('store_unavailable', 'the store is unavailable', { cause: error })
}
