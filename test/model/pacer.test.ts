import { expect, it } from 'vitest'
import { Pacer, UrgentPacer } from '../../src/model/pacer.ts'

function work(ms: number): void {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs);
}

it('resumes one pacer in each iteration of the event loop, and urgent work before all others', async () => {
  const resumed: string[] = []
  const urgentPacer = new UrgentPacer()
  const pacers = [1, 2, 3, 4].map((n) => ({ n, pacer: new Pacer() }))
  work(20)
  const background = pacers.map(async ({ n, pacer }) => {
    await pacer.pause()
    resumed.push(`${n}`)
  })
  const urgent = urgentPacer.pause().then(() => resumed.push('urgent'))
  const iterations = (async () => {
    for (let i = 0; i < pacers.length; i++) {
      await new Promise(setImmediate)
      resumed.push('next')
    }
  })()
  await Promise.all([...background, urgent, iterations])
  expect(resumed.filter((name) => name !== 'next' && name !== 'urgent')).toEqual(['1', '2', '3', '4'])
  expect(resumed.indexOf('urgent')).toBeLessThan(resumed.indexOf('2'))
  // The others wait for further iterations.
  expect(resumed.indexOf('2')).toBeGreaterThan(resumed.indexOf('next'))
})

it('lets urgent work go on until its slice ends', async () => {
  const pacer = new UrgentPacer()
  let hasIterated = false
  setImmediate(() => {
    hasIterated = true
  })
  await pacer.pause()
  expect(hasIterated).toBe(false)
  work(20)
  await pacer.pause()
  expect(hasIterated).toBe(true)
})
