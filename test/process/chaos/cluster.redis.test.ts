import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { receiptPartition } from '../../../src/store/redis/keys.ts'
import { type ChildGateway, startChild } from '../../support/child-gateway.ts'
import { LEDGER_ENV, Ledger, type SendOptions } from '../../support/ledger.ts'
import { type RedisCluster, startCluster, until } from '../../support/redis-server.ts'

/** A cluster of three masters, one of which hangs, or loses its last second while the others do not. */

const PARTITIONS = 8
const RECEIPTS_IN = receiptPartition('ledger', PARTITIONS)

let cluster: RedisCluster
let client: Cluster
/** By server, the metrics that it holds. */
let namesOf: string[][]
/** The server that holds the receipts of idempotency keys. */
let receiptsAt: number

beforeAll(async () => {
  cluster = await startCluster({ appendonly: true, args: ['--cluster-require-full-coverage', 'no'] })
  client = new Cluster(cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port })))
  client.on('error', () => undefined)
  const serverOf = async (partition: number): Promise<number> => {
    const slot = await client.cluster('KEYSLOT', `{p${partition}}`)
    return Math.floor((slot * cluster.servers.length) / 16_384)
  }
  namesOf = cluster.servers.map(() => [])
  for (let partition = 0; partition < PARTITIONS; partition++) {
    namesOf[await serverOf(partition)]!.push(...Ledger.namesIn(partition, PARTITIONS, 1))
  }
  expect(namesOf.map(({ length }) => length > 0)).toEqual([true, true, true])
  receiptsAt = await serverOf(RECEIPTS_IN)
}, 60_000)
afterAll(async () => {
  client?.disconnect()
  await cluster?.stop()
})

async function startGateway(prefix: string, env: Readonly<Record<string, string>> = {}): Promise<ChildGateway> {
  const child = await startChild({
    ...LEDGER_ENV,
    REDIS_CLUSTER_NODES: cluster.nodes.join(','),
    REDIS_PREFIX: prefix,
    PARTITIONS: String(PARTITIONS),
    STORE_WAIT_MS_MAX: '1500',
    FOLD_INBOX_AGE_MS: '500',
    ...env,
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
  it('serves the partitions of the other masters, refuses the rest in bounded time, and recovers', async () => {
    const { url } = await startGateway('hangs')
    const all = namesOf.flat()
    const ledger = new Ledger(all)
    for (let i = 0; i < 5; i++) expect(await ledger.send(url)).toBe('acknowledged')
    // Not the one that every request with a key needs.
    const deadAt = (receiptsAt + 1) % namesOf.length
    const dead = namesOf[deadAt]!
    const living = namesOf.filter((_, i) => i !== deadAt)
    const server = cluster.servers[deadAt]!
    const keyed = { names: all, key: 'several', batch: ledger.newBatch() }
    server.signal('SIGSTOP')
    try {
      let isRefused = false
      const first = Promise.all([
        ledger.send(url, { names: dead }).finally(() => {
          isRefused = true
        }),
        ledger.send(url, { names: all }),
        ledger.send(url, keyed),
      ])
      // Over and over while the other two wait, and folds with them.
      let served = 0
      while (!isRefused) {
        expect(await ledger.send(url, { names: living[served++ % living.length]! })).toBe('acknowledged')
      }
      expect(served).toBeGreaterThan(10)
      expect(await first).toEqual(['unknown', 'unknown', 'unknown'])
      expect(ledger.last).toMatchObject({ status: 201 })
      // By now it is known to be away: nothing is taken on that could not be brought in.
      expect(await ledger.send(url, { names: dead })).toBe('refused')
      expect(ledger.last).toMatchObject({ status: 503, body: expect.stringContaining('store_unavailable') })
      expect(await ledger.send(url, { names: all })).toBe('refused')
      await untilFailed(cluster.servers[receiptsAt]!.port, server.port, async () => {
        expect(await ledger.send(url, { names: living.flat() })).toBe('acknowledged')
      })
      expect(await ledger.send(url, { names: living.flat() })).toBe('acknowledged')
      expect(await ledger.send(url, { names: dead })).toBe('refused')
    } finally {
      server.signal('SIGCONT')
    }
    await until('the gateway did not recover', async () => (await ledger.send(url)) === 'acknowledged')
    for (let i = 0; i < 2; i++) expect(await ledger.send(url, keyed)).toBe('acknowledged')
    expect(await ledger.faults(url)).toEqual([])
  }, 60_000)
})

describe('a cluster of which one master loses its last second', () => {
  it('gets the lost commits and receipts replayed', async () => {
    const [keeping, careless] = await Promise.all([
      startGateway('keeping'),
      startGateway('careless', { RETAINED_BYTES: '0' }),
    ])
    const all = namesOf.flat()
    const elsewhere = namesOf.filter((_, i) => i !== receiptsAt).flat()
    const kept = new Ledger(all)
    const lost = new Ledger(all)
    const both = (act: (url: string, ledger: Ledger) => Promise<void>) =>
      Promise.all([act(keeping.url, kept), act(careless.url, lost)])
    const send = (options: SendOptions) => (url: string, ledger: Ledger) =>
      ledger.send(url, options).then((outcome) => expect(outcome).toBe('acknowledged'))
    const server = cluster.servers[receiptsAt]!

    // Its own points alone, then receipts alone.
    const lostPoints = await server.appended()
    for (let i = 0; i < 3; i++) await both(send({}))
    await server.cutBack(lostPoints)
    await expect.poll(() => kept.faults(keeping.url).catch(String), { timeout: 20_000, interval: 200 }).toEqual([])
    const faults = await lost.faults(careless.url)
    expect(faults).not.toEqual([])
    expect(faults.filter((fault) => !namesOf[receiptsAt]!.some((name) => fault.startsWith(`lost: ${name}.`)))).toEqual(
      [],
    )

    const keyed = { names: elsewhere, key: 'alone', batch: 'keyed' }
    const lostReceipts = await server.appended()
    await both(send(keyed))
    const first = kept.last
    await server.cutBack(lostReceipts)
    await until('the receipt is not there again', async () => {
      const receipts = client.zcard(`keeping:{p${RECEIPTS_IN}}:receipt-ages:ledger`)
      return (await receipts.catch(() => 0)) === 1
    })
    // Another gateway remembers nothing of it.
    const another = await startGateway('keeping')
    await kept.send(another.url, keyed)
    expect(kept.last).toEqual(first)
    expect(await kept.send(another.url, { ...keyed, batch: 'changed' })).toBe('refused')
    expect(kept.last).toMatchObject({ status: 409 })
    expect(await lost.send(careless.url, { ...keyed, batch: 'changed' })).toBe('acknowledged')
    expect(await kept.faults(another.url)).toEqual([])
  }, 90_000)
})
