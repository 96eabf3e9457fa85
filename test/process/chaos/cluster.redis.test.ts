import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type ChildGateway, startChild } from '../../support/child-gateway.ts'
import { LEDGER_ENV, Ledger } from '../../support/ledger.ts'
import { type RedisCluster, startCluster, until } from '../../support/redis-server.ts'

/** A cluster of three masters, one of which hangs: what needs it waits, and nothing else does. */

const PARTITIONS = 8

let cluster: RedisCluster
/** By server, the metrics that it holds. */
let namesOf: string[][]

beforeAll(async () => {
  cluster = await startCluster({ args: ['--cluster-require-full-coverage', 'no'] })
  const client = new Redis(cluster.servers[0]!.port, '127.0.0.1')
  namesOf = cluster.servers.map(() => [])
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const slot = await client.cluster('KEYSLOT', `{p${partition}}`)
    namesOf[Math.floor((slot * 3) / 16_384)]!.push(...Ledger.namesIn(partition, PARTITIONS, 1))
  }
  client.disconnect()
}, 60_000)
afterAll(() => cluster?.stop())

let prefixes = 0

async function startGateway(prefix = `cluster${++prefixes}`): Promise<ChildGateway> {
  const child = await startChild({
    ...LEDGER_ENV,
    REDIS_CLUSTER_NODES: cluster.nodes.join(','),
    REDIS_PREFIX: prefix,
    PARTITIONS: String(PARTITIONS),
    STORE_WAIT_MS_MAX: '1500',
    FOLD_INBOX_AGE_MS: '500',
  })
  onTestFinished(async () => {
    await child.kill('SIGKILL')
  })
  return child
}

/** Until the other masters have given one up; meanwhile something is done over and over. */
async function untilFailed(askedPort: number, failedPort: number, meanwhile: () => Promise<void>): Promise<void> {
  const client = new Redis(askedPort, '127.0.0.1')
  try {
    await until('the master was not given up', async () => {
      await meanwhile()
      const nodes = String(await client.cluster('NODES')).split('\n')
      return nodes.some((node) => node.includes(`:${failedPort}@`) && /\bfail\b(?!\?)/.test(node))
    })
  } finally {
    client.disconnect()
  }
}

describe('a cluster of which one master hangs', () => {
  it('serves what the others hold, refuses the rest within bounds, and recovers by itself', async () => {
    const { url } = await startGateway()
    const all = namesOf.flat()
    const ledger = new Ledger(all)
    for (let i = 0; i < 5; i++) expect(await ledger.send(url)).toBe('acknowledged')
    const [dead, ...living] = namesOf
    expect(namesOf.map(({ length }) => length > 0)).toEqual([true, true, true])
    const server = cluster.servers[0]!
    server.signal('SIGSTOP')
    try {
      let isRefused = false
      const first = Promise.all([
        ledger.send(url, { names: dead! }).finally(() => {
          isRefused = true
        }),
        ledger.send(url, { names: all }),
      ])
      // Over and over while the other two wait, and folds with them.
      let served = 0
      while (!isRefused) {
        expect(await ledger.send(url, { names: living[served++ % living.length]! })).toBe('acknowledged')
      }
      expect(served).toBeGreaterThan(10)
      expect(await first).toEqual(['unknown', 'unknown'])
      expect(ledger.last).toMatchObject({ status: 201 })
      // By now it is known to be away: nothing is taken on that could not be brought in.
      expect(await ledger.send(url, { names: dead! })).toBe('refused')
      expect(ledger.last).toMatchObject({ status: 503, body: expect.stringContaining('store_unavailable') })
      expect(await ledger.send(url, { names: all })).toBe('refused')
      await untilFailed(cluster.servers[1]!.port, server.port, async () => {
        expect(await ledger.send(url, { names: living.flat() })).toBe('acknowledged')
      })
      expect(await ledger.send(url, { names: living.flat() })).toBe('acknowledged')
      expect(await ledger.send(url, { names: dead! })).toBe('refused')
    } finally {
      server.signal('SIGCONT')
    }
    await until('the gateway did not recover', async () => (await ledger.send(url)) === 'acknowledged')
    expect(await ledger.faults(url)).toEqual([])
  }, 60_000)
})
