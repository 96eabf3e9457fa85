import type { StoreLog } from '../store-log.ts'
import type { Connection, Connections } from './connection.ts'

/**
 * Checks version, role and settings of the Redis servers when a gateway starts, and explains later why stored data may
 * be missing.
 */

const REDIS_MAJOR_MIN = 7

/**
 * Throws an Error if a server is too old, is a replica, or is a node of a cluster although the gateway has the URL of a
 * single server. Logs warnings about settings that can lose data.
 */
export async function checkServers(connections: Connections, log: StoreLog | undefined): Promise<void> {
  for (const server of connections.masters()) {
    const info = parseInfo(await server.call('info', ['everything']))
    // Valkey also reports the Redis version that it is compatible with.
    const version = info.get('valkey_version') ?? info.get('redis_version') ?? 'unknown'
    const kind = info.has('valkey_version') ? 'Valkey' : 'Redis'
    if (!(Number.parseInt(version, 10) >= REDIS_MAJOR_MIN)) {
      throw new Error(
        `${connections.name} is ${kind} ${version}; the gateway needs Redis ${REDIS_MAJOR_MIN} or newer, or Valkey`,
      )
    }
    if (!connections.isCluster && info.get('cluster_enabled') === '1') {
      throw new Error(`${connections.name} is a node of a cluster; name its nodes in REDIS_CLUSTER_NODES`)
    }
    if (info.get('role') === 'slave') {
      throw new Error(`${connections.name} is a replica; the gateway needs the master`)
    }
    const warn = (message: string): void => log?.warn({ store: connections.name, port: info.get('tcp_port') }, message)
    const policy = info.get('maxmemory_policy')
    if (policy !== undefined && policy !== 'noeviction') {
      warn(`maxmemory-policy is ${policy}: Redis may drop stored data when memory is short; set it to noeviction`)
    }
    if (info.get('aof_enabled') === '0') {
      warn(
        'appendonly is off: when Redis stops, what was stored since its last snapshot is lost; set appendonly to yes',
      )
    } else if ((await readSetting(server, 'appendfsync')) === 'no') {
      warn(
        'appendfsync is no: when the machine stops, more may be lost than gateways keep; set it to everysec or always',
      )
    }
  }
}

/**
 * Returns a text that explains why stored data may be missing, based on the settings of the servers, and what to do.
 */
export async function explainMissingBlocks({ masters }: Connections): Promise<string> {
  for (const server of masters()) {
    const info = parseInfo(await server.call('info', ['everything']))
    const policy = info.get('maxmemory_policy')
    if (policy === undefined || policy === 'noeviction') continue
    const evicted = info.get('evicted_keys') ?? '0'
    return `Redis has evicted ${evicted} keys under maxmemory-policy ${policy}; set it to noeviction and give it memory`
  }
  return 'keys were deleted from Redis, or it lost them when it stopped; restore it from a backup'
}

/**
 * Reads a setting of the server. Undefined if the server does not know it, or if reading fails, as on managed servers
 * that do not allow it.
 */
export async function readSetting(server: Connection, name: string): Promise<string | undefined> {
  try {
    const reply = await server.call('config', ['GET', name])
    // The reply is empty for an unknown setting.
    return Array.isArray(reply) && reply.length > 1 ? String(reply[1]) : undefined
  } catch {
    return undefined
  }
}

function parseInfo(reply: unknown): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (const line of String(reply).split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}
