import { expect, test } from 'vitest'
import { TaskSlots } from '../../src/query/task-slots.ts'

test('so many tasks run at the same time; the others follow in order, also after a failure', async () => {
  const slots = new TaskSlots(2)
  const started: number[] = []
  const ends: ((error?: Error) => void)[] = []
  const results = Array.from({ length: 5 }, (_, task) =>
    slots.run(async () => {
      started.push(task)
      await new Promise<void>((resolve, reject) => {
        ends[task] = (error) => (error === undefined ? resolve() : reject(error))
      })
      return task
    }),
  )
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  expect(started).toEqual([0, 1])
  ends[1]!(new Error('refused'))
  await expect(results[1]).rejects.toThrow('refused')
  await settle()
  expect(started).toEqual([0, 1, 2])
  ends[0]!()
  ends[2]!()
  await settle()
  expect(started).toEqual([0, 1, 2, 3, 4])
  ends[3]!()
  ends[4]!()
  expect(await Promise.all([results[0], results[2], results[3], results[4]])).toEqual([0, 2, 3, 4])
  expect(await slots.run(async () => 'free again')).toBe('free again')
})
