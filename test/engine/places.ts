import { afterAll, beforeAll, describe, expect } from 'vitest'
import type { TrackedType } from '../../src/model/metric.ts'
import type { QueryResult } from '../../src/query/compute/result.ts'
import type { QueryInput } from '../../src/query/plan/request.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { ask as askGateway, rowsOf, type Sample, track } from './harness.ts'

/** Runs the same tests on points that lie in the inbox and on points that were folded. */

export const NOW = '2026-05-05T12:34:56.789Z'

/** A time of the day of `NOW`. */
export const at = (time: string): string => `2026-05-05T${time}Z`
export const MORNING = { from: at('08:00:00'), to: at('11:59:59'), interval: '1h' }

type Input = Omit<QueryInput, 'metric'>

export interface Place {
  /** Each list of samples is a request of its own. */
  given(name: string, type: TrackedType, ...requests: readonly (readonly Sample[])[]): Promise<void>
  /** Requests of the Flux API, by the path below its prefix. */
  post(path: string, body: unknown): Promise<{ status: number; body: unknown }>
  /** Folds what `post` has stored. Does nothing where points lie in the inbox. */
  foldAll(): Promise<void>
  get(path: string): Promise<Response>
  ask(input: QueryInput): Promise<QueryResult>
  rows(metric: string, input: Input): Promise<string[]>
  groups(metric: string, input: Input): Promise<Record<string, string[]>>
}

export function describePlaces(defineTests: (place: Place) => void): void {
  describe.each(['in the inbox', 'folded'])('%s', (place) => {
    let gateway: TestGateway

    beforeAll(async () => {
      gateway = await startGateway({ now: () => Date.parse(NOW) })
      gateway.folds.pauseUntil(Number.POSITIVE_INFINITY)
    })
    afterAll(() => gateway.close())

    const foldAll = async (): Promise<void> => {
      if (place === 'in the inbox') return
      gateway.folds.pauseUntil(0)
      await gateway.folds.drain()
      gateway.folds.pauseUntil(Number.POSITIVE_INFINITY)
    }
    const ask = (input: QueryInput): Promise<QueryResult> => askGateway(gateway, input)
    const send = (path: string, init: RequestInit = {}): Promise<Response> =>
      fetch(`${gateway.url}/api/v1${path}`, {
        ...init,
        headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
      })

    defineTests({
      ask,
      get: (path) => send(path),
      foldAll,
      async given(name, type, ...requests) {
        for (const samples of requests) {
          expect(await track(gateway, name, type, samples)).toEqual([])
          await foldAll()
        }
      },
      async post(path, body) {
        const response = await send(path, { method: 'POST', body: JSON.stringify(body) })
        return { status: response.status, body: JSON.parse(await response.text()) }
      },
      rows: async (metric, input) => rowsOf(await ask({ metric, ...input }))['']!,
      groups: async (metric, input) => rowsOf(await ask({ metric, ...input })),
    })
  })
}
