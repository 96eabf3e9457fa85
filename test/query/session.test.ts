import { expect, test } from 'vitest'
import { QuerySession } from '../../src/query/session.ts'

test('the queries of a request plan one in each iteration of the event loop, in order', async () => {
  const session = new QuerySession(1_000, () => 0)
  let loop = 0
  let isOver = false
  const count = (): void => {
    loop++
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  const loops: number[] = []
  const queries: number[] = []
  const plan = async (query: number): Promise<void> => {
    await session.waitForTurn()
    queries.push(query)
    loops.push(loop)
  }
  await Promise.all(Array.from({ length: 20 }, (_, query) => plan(query)))
  isOver = true
  expect(queries).toEqual(Array.from({ length: 20 }, (_, query) => query))
  expect(new Set(loops).size).toBe(20)
})
