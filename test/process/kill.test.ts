import { describe, expect, it, onTestFinished } from 'vitest'
import { type ChildGateway, startChild } from '../support/child-gateway.ts'
import { type Door, LEDGER_ENV, Ledger } from '../support/ledger.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/**
 * A process that is killed loses nothing that it acknowledged and counts nothing twice. Each request is a batch with
 * a tag of its own, so that it can be asked afterwards what became of it; folds go on all the time.
 */

const KEY = 'kill-test-key-0123456789'
const POINTS = 5
const DAY = '2024-01-15'

async function startOn(folder: string): Promise<ChildGateway> {
  const child = await startChild({
    PORT: '0',
    DATA_DIR: folder,
    API_KEYS: `${KEY}:test:ingest+query`,
    QUERY_VALUES_MAX: '10000000',
    FOLD_INBOX_BYTES: '4000',
    FOLD_INBOX_AGE_MS: '50',
  })
  onTestFinished(() => {
    child.process.kill('SIGKILL')
  })
  return child
}

interface Sent {
  readonly acknowledged: Set<string>
  readonly unknown: Set<string>
}

let batches = 0

/** Sends batches over some connections at once until the gateway is gone. */
async function load(url: string, connections: number, sent: Sent, onAcknowledged: (count: number) => void) {
  let gone = false
  let count = 0
  const sendUntilGone = async (): Promise<void> => {
    while (!gone) {
      const batch = `b${batches++}`
      try {
        const response = await fetch(`${url}/api/v1/metrics/batch`, {
          method: 'POST',
          headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
          body: JSON.stringify(pointsOf(batch)),
        })
        const { data } = (await response.json()) as { data?: { accepted: number } }
        if (response.status === 201 && data?.accepted === 3 * POINTS) {
          sent.acknowledged.add(batch)
          onAcknowledged(++count)
        } else sent.unknown.add(batch)
      } catch {
        sent.unknown.add(batch)
        gone = true
      }
    }
  }
  await Promise.all(Array.from({ length: connections }, sendUntilGone))
}

function pointsOf(batch: string): object[] {
  return Array.from({ length: POINTS }, (_, i) => {
    const timestamp = `${DAY}T10:${String(i * 7).padStart(2, '0')}:00Z`
    const tags = { batch }
    return [
      { name: 'kill.hits', type: 'counter', value: 1, timestamp, tags },
      { name: 'kill.ms', type: 'distribution', value: i + 1, timestamp, tags },
      { name: 'kill.users', type: 'set', value: `${batch}-${i}`, timestamp, tags },
    ]
  }).flat()
}

type Groups = Readonly<Record<string, readonly { readonly value: number }[]>>

async function ask(url: string, path: string): Promise<unknown> {
  const response = await fetch(`${url}/api/v1/metrics/${path}`, { headers: { authorization: `Bearer ${KEY}` } })
  expect(response.status).toBe(200)
  const { data } = (await response.json()) as { data: unknown }
  return data
}

async function countsOf(url: string, metric: string, aggregation: string): Promise<Map<string, number>> {
  const range = `from=${DAY}T00:00:00Z&to=${DAY}T23:59:59Z&interval=1d`
  const data = await ask(url, `${metric}/query?${range}&aggregation=${aggregation}&group_by=tags.batch`)
  const { groups } = data as { groups: Groups }
  return new Map(Object.entries(groups).map(([batch, [row]]) => [batch, row!.value]))
}

/** Every acknowledged batch whole and once, every other one not at all or whole and once. */
async function verify(url: string, { acknowledged, unknown }: Sent): Promise<void> {
  for (const [metric, aggregation] of [
    ['kill.hits', 'sum'],
    ['kill.hits', 'count'],
    ['kill.ms', 'count'],
    ['kill.users', 'count'],
  ] as const) {
    const counts = await countsOf(url, metric, aggregation)
    const lost = [...acknowledged].filter((batch) => !counts.has(batch))
    const wrong = [...counts].filter(([, count]) => count !== POINTS)
    const invented = [...counts.keys()].filter((batch) => !acknowledged.has(batch) && !unknown.has(batch))
    expect({ metric, aggregation, lost, wrong, invented }).toEqual({
      metric,
      aggregation,
      lost: [],
      wrong: [],
      invented: [],
    })
    const { data_points } = (await ask(url, metric)) as { data_points: number }
    expect(data_points).toBe(counts.size * POINTS)
  }
  const sums = await countsOf(url, 'kill.ms', 'sum')
  for (const sum of sums.values()) expect(sum).toBe((POINTS * (POINTS + 1)) / 2)
}

describe('a gateway that is killed under load', () => {
  it('counts every acknowledged batch exactly once and every other one at most once, round after round', async () => {
    const folder = await temporaryFolder()
    const sent: Sent = { acknowledged: new Set(), unknown: new Set() }
    for (const killAfter of [1, 40, 150, 15, 300]) {
      const child = await startOn(folder)
      if (sent.acknowledged.size > 0) await verify(child.url, sent)
      await load(child.url, 8, sent, (count) => {
        if (count === killAfter) child.process.kill('SIGKILL')
      })
      expect((await child.exited).signal).toBe('SIGKILL')
    }
    const child = await startOn(folder)
    await verify(child.url, sent)
    expect(sent.acknowledged.size).toBeGreaterThanOrEqual(1 + 40 + 150 + 15 + 300)
    // Again when there has been time for everything to be folded.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    await verify(child.url, sent)
    expect((await child.kill('SIGTERM')).code).toBe(0)
  }, 120_000)
})

describe('deltas by OTLP and running totals by remote write', () => {
  it('count once when their gateway is killed and they are sent again as they are', async () => {
    const folder = await temporaryFolder()
    const ledger = new Ledger(['kill'])
    const start = async (): Promise<ChildGateway> => {
      const child = await startChild({ ...LEDGER_ENV, DATA_DIR: folder, FOLD_INBOX_AGE_MS: '50' })
      onTestFinished(() => {
        child.process.kill('SIGKILL')
      })
      return child
    }
    let child = await start()
    for (const killAfter of [5, 60, 20]) {
      const goal = ledger.count('acknowledged') + killAfter
      const sender = async (door: Door): Promise<{ readonly batch: string; readonly door: Door }> => {
        for (;;) {
          const batch = ledger.newBatch()
          if ((await ledger.send(child.url, { batch, door })) !== 'acknowledged') return { batch, door }
          if (ledger.count('acknowledged') >= goal) child.process.kill('SIGKILL')
        }
      }
      const doors: readonly Door[] = ['otlp', 'otlp', 'write', 'write']
      const unknown = await Promise.all(doors.map(sender))
      expect((await child.exited).signal).toBe('SIGKILL')
      child = await start()
      for (const options of unknown) await ledger.insist(() => [child.url], undefined, options)
    }
    expect(ledger.count('unknown')).toBe(0)
    expect(await ledger.faults(child.url)).toEqual([])
    expect((await child.kill('SIGTERM')).code).toBe(0)
  }, 60_000)
})

describe('a gateway that receives a signal under load', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'finishes accepted requests and exits with 0 on %s',
    async (signal) => {
      const folder = await temporaryFolder()
      const sent: Sent = { acknowledged: new Set(), unknown: new Set() }
      const child = await startOn(folder)
      await load(child.url, 8, sent, (count) => {
        if (count === 60) child.process.kill(signal)
      })
      expect(await child.exited).toMatchObject({ code: 0, signal: null, errors: '' })
      const again = await startOn(folder)
      await verify(again.url, sent)
      expect((await again.kill('SIGTERM')).code).toBe(0)
    },
    20_000,
  )
})
