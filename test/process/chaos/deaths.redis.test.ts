import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { scriptSource } from '../../../src/store/redis/scripts.ts'
import { type ChildGateway, startChild } from '../../support/child-gateway.ts'
import { type Door, LEDGER_ENV, Ledger } from '../../support/ledger.ts'
import { type RedisServer, startRedis, until } from '../../support/redis-server.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'

/**
 * Two gateways under load on one Redis while one of the three dies, or the line between them. What was acknowledged is
 * counted once, what was refused is not, what nobody knows of at most once, and what was sent until it was
 * acknowledged, with an idempotency key or by OTLP or remote write, once.
 */

/** Longer than a gateway waits for the reply to a command. */
const HANG_MS = 4_000
/** What a gateway tells the server with every commit: the hash of the script. */
const COMMIT = createHash('sha1').update(scriptSource('append')).digest('hex')

let server: RedisServer
let proxy: TcpProxy
let redis: Redis
let gatewayA: ChildGateway
let gatewayB: ChildGateway

function startGateway(): Promise<ChildGateway> {
  return startChild({
    ...LEDGER_ENV,
    REDIS_URL: proxy.url,
    PARTITIONS: '4',
    STORE_WAIT_MS_MAX: '1500',
    FOLD_INBOX_AGE_MS: '300',
  })
}

beforeAll(async () => {
  server = await startRedis({ appendonly: true })
  proxy = await TcpProxy.open(server.port)
  redis = new Redis(server.port, '127.0.0.1')
  redis.on('error', () => undefined)
  ;[gatewayA, gatewayB] = await Promise.all([startGateway(), startGateway()])
}, 60_000)

afterAll(async () => {
  redis?.disconnect()
  await Promise.all([gatewayA, gatewayB].map((child) => child?.kill('SIGKILL')))
  await proxy?.close()
  await server?.stop()
})

let ledgers = 0
let keys = 0

/**
 * Load on both gateways, a part of it with keys, while something happens. Resolves with what was sent, when every
 * request has a response.
 */
async function underLoad(happens: (ledger: Ledger, more: (number: number) => Promise<void>) => Promise<void>) {
  const ledger = new Ledger(['a', 'b'].map((name) => `${name}${++ledgers}`))
  let isOver = false
  const sender = async (url: () => string): Promise<void> => {
    while (!isOver) await ledger.send(url())
  }
  const insisting = async (): Promise<void> => {
    while (!isOver) await ledger.insist(() => [gatewayA.url, gatewayB.url], `key-${++keys}`)
  }
  const repeating = async (door: Door): Promise<void> => {
    while (!isOver) await ledger.insist(() => [gatewayA.url, gatewayB.url], undefined, { door })
  }
  const senders = [
    sender(() => gatewayA.url),
    sender(() => gatewayB.url),
    insisting(),
    insisting(),
    repeating('otlp'),
    repeating('write'),
  ]
  /** Until so many more are acknowledged. */
  const more = async (number: number): Promise<void> => {
    const goal = ledger.count('acknowledged') + number
    await until('the load stands still', () => ledger.count('acknowledged') >= goal)
  }
  try {
    await more(20)
    await happens(ledger, more)
    await more(20)
  } finally {
    isOver = true
    await Promise.all(senders)
  }
  return ledger
}

async function expectRight(ledger: Ledger): Promise<void> {
  for (const { url } of [gatewayA, gatewayB]) expect(await ledger.faults(url)).toEqual([])
}

describe('two gateways on one Redis', () => {
  it('return at once what the other acknowledged, including new series', async () => {
    const ledger = await underLoad(async (underWay) => {
      for (let i = 0; i < 10; i++) {
        const [sending, asked] = i % 2 === 0 ? [gatewayA, gatewayB] : [gatewayB, gatewayA]
        const batch = underWay.newBatch()
        expect(await underWay.send(sending.url, { batch })).toBe('acknowledged')
        expect(await underWay.faults(asked.url, batch)).toEqual([])
      }
    })
    expect([ledger.count('unknown'), ledger.count('refused')]).toEqual([0, 0])
    await expectRight(ledger)
  }, 60_000)

  it('survive that one of them is killed', async () => {
    const ledger = await underLoad(async (_, more) => {
      for (let i = 0; i < 2; i++) {
        expect((await gatewayA.kill('SIGKILL')).signal).toBe('SIGKILL')
        await more(20)
        gatewayA = await startGateway()
        await more(20)
      }
    })
    expect(ledger.count('unknown')).toBeGreaterThan(0)
    await expectRight(ledger)
  }, 60_000)

  it('survive that the server is killed', async () => {
    const ledger = await underLoad(async (_, more) => {
      for (let i = 0; i < 3; i++) {
        await server.restart('SIGKILL')
        await more(20)
      }
    })
    await expectRight(ledger)
  }, 60_000)

  it('survive that responses to commits are lost with the connection', async () => {
    const ledger = await underLoad(async (_, more) => {
      for (let i = 0; i < 5; i++) {
        const appended = await server.appended()
        proxy.loseRepliesTo(COMMIT)
        await until('nothing arrives', async () => (await server.appended()) > appended)
        proxy.cut()
        await more(20)
      }
    })
    await expectRight(ledger)
  }, 60_000)

  it.each([
    ['dies', () => gatewayA.kill('SIGKILL')],
    ['gives up', async () => {}],
  ])(
    'count a request with a key, deltas and totals once when their gateway %s between commit and response',
    async (_, happens) => {
      const ledger = new Ledger(['a', 'b'].map((name) => `${name}${++ledgers}`))
      expect(await ledger.send(gatewayA.url)).toBe('acknowledged')
      const batches = [
        ...Array.from({ length: 5 }, () => ({ batch: ledger.newBatch(), key: `key-${++keys}` })),
        ...(['otlp', 'write'] as const).map((door) => ({ batch: ledger.newBatch(), door, key: undefined })),
      ]
      const appended = await server.appended()
      proxy.loseRepliesTo(COMMIT)
      try {
        const sent = Promise.all(
          batches.map(({ key, ...batch }) => ledger.send(gatewayA.url, key === undefined ? batch : { ...batch, key })),
        )
        await until('nothing arrives', async () => (await server.appended()) > appended)
        await happens()
        expect(await sent).toContain('unknown')
      } finally {
        proxy.cut()
      }
      await Promise.all(batches.map(({ key, ...batch }) => ledger.insist(() => [gatewayB.url], key, batch)))
      if (gatewayA.process.signalCode !== null) gatewayA = await startGateway()
      await expect.poll(() => ledger.faults(gatewayA.url)).toEqual([])
      await expectRight(ledger)
      expect(ledger.count('acknowledged')).toBe(8)
    },
    60_000,
  )

  it('survive that the server closes their connections', async () => {
    const ledger = await underLoad(async (_, more) => {
      for (let i = 0; i < 10; i++) {
        await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        await more(5)
      }
    })
    await expectRight(ledger)
  }, 60_000)

  it('refuse in bounded time while the server hangs, whose commands run when it continues', async () => {
    const ledger = await underLoad(async (underWay, more) => {
      const stoppedMs = Date.now()
      server.signal('SIGSTOP')
      try {
        await until('nobody is refused', () => underWay.count('unknown') > 0 && underWay.count('refused') > 0)
        expect(underWay.last).toMatchObject({ status: 503, body: expect.stringContaining('store_unavailable') })
        await until('time stands still', () => Date.now() - stoppedMs > HANG_MS)
      } finally {
        server.signal('SIGCONT')
      }
      await more(20)
    })
    await expectRight(ledger)
  }, 60_000)
})
