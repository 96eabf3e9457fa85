import { describe, expect, it } from 'vitest'
import type { Connection, Connections } from '../../../src/store/redis/connection.ts'
import { checkServers, readSetting } from '../../../src/store/redis/server-checks.ts'

/** What servers that are not at hand say of themselves: INFO as they answer it, in part. */

const GOOD = { redis_version: '7.0.15', role: 'master', maxmemory_policy: 'noeviction', aof_enabled: '1' }

/** The warnings, or the refusal. */
async function verdict(info: Readonly<Record<string, string>>, appendfsync?: string): Promise<readonly string[]> {
  const text = Object.entries(info).map(([name, value]) => `${name}:${value}`)
  const call = async (command: string): Promise<unknown> => {
    if (command === 'info') return `# Server\r\n${text.join('\r\n')}\r\n`
    if (appendfsync === undefined) throw new Error("NOPERM this user has no permissions to run 'config|get'")
    return ['appendfsync', appendfsync]
  }
  const server: Connection = { call, callBuffer: call }
  const connections: Connections = {
    ...{ isCluster: false, name: 'redis://somewhere', commits: server, common: server },
    masters: () => [server],
    subscribe: async () => {},
    close: () => {},
  }
  const warnings: string[] = []
  try {
    await checkServers(connections, { warn: (_, message) => warnings.push(message) })
  } catch (error) {
    return [String(error)]
  }
  return warnings
}

describe('checkServers', () => {
  it.each<[string, object]>([
    ['Redis 7.0', { redis_version: '7.0.0' }],
    ['Redis 8', { redis_version: '8.2.1' }],
    [
      'Valkey 8, which names itself beside the Redis it stands for',
      { redis_version: '7.2.4', valkey_version: '8.1.1' },
    ],
    ['Valkey 7.2', { redis_version: '7.2.4', server_name: 'valkey', valkey_version: '7.2.11' }],
  ])('accepts %s', async (_, version) => {
    expect(await verdict({ ...GOOD, ...version })).toEqual([])
    expect(await verdict({ ...GOOD, ...version }, 'everysec')).toEqual([])
    expect(await verdict({ ...GOOD, ...version }, 'always')).toEqual([])
  })

  it.each<[string, object, RegExp]>([
    ['Redis 6', { redis_version: '6.2.14' }, /redis:\/\/somewhere is Redis 6\.2\.14; .* needs Redis 7 or newer/],
    ['an unreadable version', { redis_version: 'next' }, /is Redis next; /],
    ['a replica', { role: 'slave' }, /is a replica; the gateway needs the master/],
    ['a node of a cluster', { cluster_enabled: '1' }, /name its nodes in REDIS_CLUSTER_NODES/],
  ])('refuses %s', async (_, info, reason) => {
    expect(await verdict({ ...GOOD, ...info })).toEqual([expect.stringMatching(reason)])
  })

  it.each(['allkeys-lru', 'volatile-ttl', 'allkeys-random'])('warns of the policy %s', async (policy) => {
    const warnings = await verdict({ ...GOOD, maxmemory_policy: policy })
    expect(warnings).toEqual([expect.stringMatching(`^maxmemory-policy is ${policy}: .*noeviction$`)])
  })

  it('warns of persistence that is off, or left to the system', async () => {
    expect(await verdict({ ...GOOD, aof_enabled: '0' })).toEqual([expect.stringMatching(/^appendonly is off: /)])
    expect(await verdict(GOOD, 'no')).toEqual([expect.stringMatching(/^appendfsync is no: /)])
  })
})

describe('readSetting', () => {
  const serverOf = (reply: unknown): Connection => ({ call: async () => reply, callBuffer: async () => reply })

  it('returns the value; undefined for a setting that the server does not know', async () => {
    expect(await readSetting(serverOf(['appendfsync', 'no']), 'appendfsync')).toBe('no')
    expect(await readSetting(serverOf([]), 'appendfsync')).toBeUndefined()
  })
})
