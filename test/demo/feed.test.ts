import { expect, it, onTestFinished, vi } from 'vitest'
import { createFeed } from '../../demo/feed.ts'
import type { Point } from '../../demo/shop.ts'
import { until } from '../support/redis-server.ts'

interface SentBatch {
  readonly metrics: readonly { readonly name: string; readonly unit?: string; readonly description?: string }[]
  readonly store: () => void
}

/** The batches that are sent; each waits until the test stores it. */
function interceptBatches(): readonly SentBatch[] {
  const batches: SentBatch[] = []
  vi.stubGlobal('fetch', (_url: string, { body }: { body: string }) => {
    const text = JSON.stringify({ data: { metrics: { rejected: 0 }, events: { rejected: 0 } } })
    return new Promise((resolve) => {
      batches.push({ ...JSON.parse(body), store: () => resolve(new Response(text, { status: 201 })) })
    })
  })
  onTestFinished(() => {
    vi.unstubAllGlobals()
  })
  return batches
}

it('describes a metric in every batch until one is stored, because any of them may arrive first', async () => {
  const batches = interceptBatches()
  const point = (timestamp: number): Point => ({ name: 'orders', type: 'counter', value: 1, timestamp, tags: {} })
  const points = Array.from({ length: 2_600 }, (_, second) => point(second * 1_000))
  const sent = createFeed('http://gateway', 'key').send(points, new AbortController().signal)
  await until('not all workers send', () => batches.length === 4)
  for (const { metrics } of batches) {
    expect(metrics[0]).toMatchObject({ name: 'orders', unit: 'orders', description: 'Orders placed' })
  }
  batches[3]!.store()
  await until('no further batch', () => batches.length === 5)
  expect(batches[4]!.metrics.filter(({ description }) => description !== undefined)).toEqual([])
  for (const { store } of batches) store()
  await until('no last batch', () => batches.length === 6)
  batches[5]!.store()
  expect(await sent).toBe(2_600)
})
