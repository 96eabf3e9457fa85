import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ChildGateway, startChild } from '../../support/child-gateway.ts'
import { DOORS, LEDGER_ENV, LEDGER_KEY, Ledger } from '../../support/ledger.ts'
import { randomOf } from '../../support/random.ts'
import { type RedisServer, startRedis, until } from '../../support/redis-server.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'

/**
 * A Redis that loses what it acknowledged last: it is killed, and what it appended to its file in the last second is
 * cut off; or a replica takes its place whose link was cut a second before. Two gateways keep what was acknowledged and
 * offer it again. Beside them, on the same server, two keep nothing: what those have lost afterwards shows that there
 * was something to lose.
 */

const PARTITIONS = 4

let server: RedisServer
let proxy: TcpProxy
let redis: Redis
let keeping: Pair
let careless: Pair

interface Pair {
  readonly prefix: string
  readonly gatewayA: ChildGateway
  readonly gatewayB: ChildGateway
}

const children: ChildGateway[] = []

async function startGateway(prefix: string, env: Readonly<Record<string, string>>): Promise<ChildGateway> {
  const child = await startChild({
    ...LEDGER_ENV,
    REDIS_URL: proxy.url,
    REDIS_PREFIX: prefix,
    PARTITIONS: String(PARTITIONS),
    FOLD_INBOX_AGE_MS: '700',
    ...env,
  })
  children.push(child)
  return child
}

async function startPair(prefix: string, env: Readonly<Record<string, string>> = {}): Promise<Pair> {
  const [gatewayA, gatewayB] = await Promise.all([startGateway(prefix, env), startGateway(prefix, env)])
  return { prefix, gatewayA, gatewayB }
}

const startKeeping = () => startPair('keeping')
const startCareless = () => startPair('careless', { RETAINED_BYTES: '0' })

beforeAll(async () => {
  server = await startRedis({ appendonly: true })
  proxy = await TcpProxy.open(server.port)
  redis = new Redis(server.port, '127.0.0.1')
  redis.on('error', () => undefined)
  const [kept, lost] = await Promise.all([startKeeping(), startCareless()])
  keeping = kept
  careless = lost
}, 60_000)

afterAll(async () => {
  redis?.disconnect()
  await Promise.all(children.map((child) => child.kill('SIGKILL')))
  await proxy?.close()
  await server?.stop()
})

let ledgers = 0

function newLedgers() {
  const names = ['a', 'b', 'c'].map((name) => `${name}${++ledgers}`)
  return { kept: new Ledger(names), lost: new Ledger(names) }
}

type Ledgers = ReturnType<typeof newLedgers>
type Act = (pair: Pair, ledger: Ledger) => Promise<void>

/** Does the same with those who keep and those who do not. */
async function both({ kept, lost }: Ledgers, act: Act): Promise<void> {
  await Promise.all([act(keeping, kept), act(careless, lost)])
}

/** What is done meanwhile is forgotten by the server. */
async function forgotten(act: () => Promise<void>): Promise<void> {
  const bytes = await server.appended()
  await act()
  await server.cutBack(bytes)
}

async function sendSome({ gatewayA, gatewayB }: Pair, ledger: Ledger, number = 4): Promise<void> {
  const urls = Array.from({ length: number }, (_, i) => (i % 2 === 0 ? gatewayA.url : gatewayB.url))
  const sent = urls.map((url, i) => ledger.send(url, { door: DOORS[i % DOORS.length]! }))
  for (const outcome of await Promise.all(sent)) expect(outcome).toBe('acknowledged')
}

/** Over all gateways until it is told to stop. */
async function load({ gatewayA, gatewayB }: Pair, ledger: Ledger, isOver: () => boolean): Promise<void> {
  const sender = async (url: string): Promise<void> => {
    for (let i = 0; !isOver(); i++) await ledger.send(url, { door: DOORS[i % DOORS.length]! })
  }
  await Promise.all([gatewayA.url, gatewayA.url, gatewayB.url, gatewayB.url].map(sender))
}

/**
 * Everything is right with those who keep, asked of either; with those who do not something is lost, and nothing else
 * is wrong.
 */
async function expectKeptAndLost({ kept, lost }: Ledgers): Promise<void> {
  for (const { url } of [keeping.gatewayA, keeping.gatewayB])
    await expect.poll(() => kept.faults(url), { timeout: 15_000, interval: 200 }).toEqual([])
  expect(kept.count('acknowledged')).toBeGreaterThan(0)
  const faults = await lost.faults(careless.gatewayA.url)
  expect(faults.filter((fault) => !fault.startsWith('lost'))).toEqual([])
  expect(faults).not.toEqual([])
}

async function untilFolded(...pairs: readonly Pair[]): Promise<void> {
  await until('the inboxes are not folded', async () => {
    const inboxes = pairs.flatMap(({ prefix }) =>
      Array.from({ length: PARTITIONS }, (_, i) => redis.zcard(`${prefix}:{p${i}}:inbox`)),
    )
    return (await Promise.all(inboxes)).every((entries) => entries === 0)
  })
}

describe('a server that loses its last second', () => {
  it('of commits', async () => {
    const ledgers = newLedgers()
    await both(ledgers, sendSome)
    await forgotten(() => both(ledgers, (pair, ledger) => sendSome(pair, ledger, 10)))
    await both(ledgers, sendSome)
    await expectKeptAndLost(ledgers)
  }, 60_000)

  it('of commits without later ones: the gateway polls for the loss', async () => {
    const ledgers = newLedgers()
    await forgotten(() => both(ledgers, sendSome))
    await expectKeptAndLost(ledgers)
  }, 60_000)

  it('under load', async () => {
    const ledgers = newLedgers()
    let isOver = false
    const loads = both(ledgers, (pair, ledger) => load(pair, ledger, () => isOver))
    const acknowledged = () => ledgers.kept.count('acknowledged') + ledgers.lost.count('acknowledged')
    const more = async (number: number): Promise<void> => {
      const goal = acknowledged() + number
      await until('the load stands still', () => acknowledged() >= goal)
    }
    await more(40)
    const bytes = await server.appended()
    await more(100)
    await server.cutBack(bytes)
    await more(40)
    isOver = true
    await loads
    await expectKeptAndLost(ledgers)
  }, 60_000)

  it('in the middle of a fold', async () => {
    const ledgers = newLedgers()
    const random = randomOf(7)
    for (const cut of [0, random(), random()]) {
      await both(ledgers, sendSome)
      const from = await server.appended()
      await both(ledgers, sendSome)
      await untilFolded(keeping, careless)
      const to = await server.appended()
      await server.cutBack(Math.round(from + cut * (to - from)))
      await until('the server does not respond', () => redis.ping().then(Boolean, () => false))
    }
    await both(ledgers, sendSome)
    await expectKeptAndLost(ledgers)
    await untilFolded(keeping, careless)
    await expectKeptAndLost(ledgers)
  }, 60_000)

  it('of another gateway’s registration of a series', async () => {
    const steady = async ({ url }: ChildGateway): Promise<void> => {
      expect(await tell(url, 'steady')).toMatchObject({ status: 201 })
    }
    await forgotten(async () => {
      for (const { gatewayA, gatewayB } of [keeping, careless]) {
        await steady(gatewayA)
        expect(await total(gatewayB.url, 'steady')).toBe(1)
        await steady(gatewayB)
      }
      // Those who made it known are not there when it is missed.
      for (const { gatewayA } of [keeping, careless]) gatewayA.process.kill('SIGSTOP')
    })
    try {
      for (const { gatewayB } of [keeping, careless]) await steady(gatewayB)
      expect(await total(keeping.gatewayB.url, 'steady')).toBe(2)
      expect(await total(careless.gatewayB.url, 'steady')).toBe(1)
    } finally {
      for (const { gatewayA } of [keeping, careless]) gatewayA.process.kill('SIGCONT')
    }
    for (const { url } of [keeping.gatewayA, keeping.gatewayB])
      await expect.poll(() => total(url, 'steady'), { timeout: 15_000 }).toBe(3)
    expect(await total(careless.gatewayA.url, 'steady')).toBe(1)
  }, 60_000)

  it('of a receipt', async () => {
    const ledgers = newLedgers()
    const key = 'receipt'
    let first: unknown
    await forgotten(async () => {
      await both(ledgers, async ({ gatewayA }, ledger) => {
        expect(await ledger.send(gatewayA.url, { key, batch: 'keyed' })).toBe('acknowledged')
      })
      first = ledgers.kept.last
    })
    await expectKeptAndLost(ledgers)
    // Through another gateway: the same request gets the same response, and another one is refused.
    expect(await ledgers.kept.send(keeping.gatewayB.url, { key, batch: 'keyed' })).toBe('acknowledged')
    expect(ledgers.kept.last).toEqual(first)
    expect(await ledgers.kept.send(keeping.gatewayB.url, { key, batch: 'changed' })).toBe('refused')
    expect(ledgers.kept.last).toMatchObject({ status: 409 })
    expect(await ledgers.lost.send(careless.gatewayB.url, { key, batch: 'changed' })).toBe('acknowledged')
    expect(await ledgers.kept.faults(keeping.gatewayA.url)).toEqual([])
  }, 60_000)

  it('of a gateway’s first commit', async () => {
    const ledgers = newLedgers()
    const [kept, lost] = await Promise.all([startKeeping(), startCareless()])
    keeping = kept
    careless = lost
    await forgotten(() => both(ledgers, (pair, ledger) => sendSome(pair, ledger, 2)))
    await both(ledgers, sendSome)
    await expectKeptAndLost(ledgers)
  }, 60_000)
})

describe('a replica that takes the place of its master', () => {
  it('and is a second behind', async () => {
    const ledgers = newLedgers()
    const replica = await startRedis({ appendonly: true, args: ['--replicaof', '127.0.0.1', String(server.port)] })
    try {
      const client = new Redis(replica.port, '127.0.0.1')
      await both(ledgers, sendSome)
      await until('the replica did not follow', async () => {
        const offset = /master_repl_offset:(\d+)/.exec(await redis.info('replication'))?.[1]
        const info = await client.info('replication')
        return info.includes('master_link_status:up') && info.includes(`slave_repl_offset:${offset}`)
      })
      await client.replicaof('NO', 'ONE')
      client.disconnect()
      await both(ledgers, (pair, ledger) => sendSome(pair, ledger, 10))
      await server.kill()
      proxy.cut(replica.port)
      await both(ledgers, sendSome)
      await expectKeptAndLost(ledgers)
    } finally {
      await Promise.all(children.map((child) => child.kill('SIGKILL')))
      await replica.stop()
    }
  }, 60_000)
})

/** One more of a counter without tags. */
async function tell(url: string, name: string): Promise<object> {
  const response = await fetch(`${url}/api/v1/metrics`, {
    method: 'POST',
    headers: HEADERS,
    body: JSON.stringify({ name, type: 'counter', value: 1 }),
  })
  return { status: response.status, body: await response.text() }
}

async function total(url: string, name: string): Promise<number> {
  const query = 'aggregation=sum&interval=1d&group_by=series'
  const response = await fetch(`${url}/api/v1/metrics/${name}/query?${query}`, { headers: HEADERS })
  const { data } = (await response.json()) as { data: { groups: Record<string, { value: number }[]> } }
  return Object.values(data.groups)
    .flat()
    .reduce((sum, { value }) => sum + value, 0)
}

const HEADERS = { 'x-api-key': LEDGER_KEY, 'content-type': 'application/json' }
