import { expect, it } from 'vitest'
import type { Pace, Steps } from '../../../src/model/steps.ts'
import { DecodeQueue } from '../../../src/write/round/decode-queue.ts'

/** Counts pauses, and lets other work run in each. */
class CountingPace implements Pace {
  pauses = 0

  async pause(): Promise<void> {
    this.pauses++
  }
}

function* work(name: string, steps: number, log: string[]): Steps<void> {
  for (let i = 0; i < steps; i++) {
    log.push(name)
    yield
  }
}

it('decodes an ordinary batch at once', () => {
  const queue = new DecodeQueue(() => {
    throw new Error('no pause is needed')
  })
  expect(queue.run(work('a', 5, []))).toBeUndefined()
})

it('pauses after every step of a long one', async () => {
  const pace = new CountingPace()
  await new DecodeQueue(() => pace).run(work('a', 1_000, []))
  expect(pace.pauses).toBeGreaterThan(980)
})

it('decodes large bodies one after another, and smaller ones in between', async () => {
  const log: string[] = []
  const queue = new DecodeQueue(() => new CountingPace())
  await Promise.all([
    queue.run(work('a', 1_000, log)),
    queue.run(work('b', 1_000, log)),
    queue.run(work('small', 100, log)),
  ])
  const firstAlone = log.lastIndexOf('a')
  expect(log.filter((name, i) => name === 'b' && i < firstAlone).length).toBeLessThan(200)
  expect(log.lastIndexOf('small')).toBeLessThan(firstAlone)
  expect(log.filter((name) => name === 'b')).toHaveLength(1_000)
})

it('goes on with the next one when a decoder throws', async () => {
  function* failing(): Steps<void> {
    yield* work('a', 500, [])
    throw new Error('undecodable')
  }
  const log: string[] = []
  const queue = new DecodeQueue(() => new CountingPace())
  const failed = queue.run(failing())
  const next = queue.run(work('b', 500, log))
  await expect(failed).rejects.toThrow('undecodable')
  await next
  expect(log).toHaveLength(500)
})

it('waits for the work between two steps, also in a body that needs no pause', async () => {
  for (const steps of [4, 300]) {
    const log: string[] = []
    let calls = 0
    const between = (): Promise<void> | undefined => {
      if (++calls % 3 !== 0) return undefined
      return new Promise<void>((resolve) => setImmediate(resolve)).then(() => void log.push('between'))
    }
    await new DecodeQueue(() => new CountingPace()).run(work('a', steps, log), between)
    expect(calls).toBe(steps)
    expect(log.slice(0, 5)).toEqual(['a', 'a', 'a', 'between', 'a'])
    expect(log.filter((entry) => entry === 'between')).toHaveLength(Math.floor(steps / 3))
  }
})
