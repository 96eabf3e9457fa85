import { describe, expect, it, test } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { QuerySignal } from '../../src/query/query-signal.ts'
import { TaskSlots } from '../../src/query/task-slots.ts'

const NEVER = new QuerySignal()

const settle = () => new Promise((resolve) => setImmediate(resolve))

/** Starts tasks that run until they are ended, and records the order in which they started. */
function taskRunner(slots: TaskSlots) {
  const started: string[] = []
  const ends = new Map<string, (error?: Error) => void>()
  return {
    started,
    run: (name: string, owner: string, signal = NEVER): Promise<string> =>
      slots.run(owner, signal, async () => {
        started.push(name)
        await new Promise<void>((resolve, reject) => {
          ends.set(name, (error) => (error === undefined ? resolve() : reject(error)))
        })
        return name
      }),
    end: async (name: string, error?: Error): Promise<void> => {
      ends.get(name)!(error)
      await settle()
    },
  }
}

test('so many tasks run at the same time; the others follow in order, also after a failure', async () => {
  const slots = new TaskSlots(2, 10)
  const { started, run, end } = taskRunner(slots)
  const results = ['0', '1', '2', '3', '4'].map((name) => run(name, 'shop'))
  expect(started).toEqual(['0', '1'])
  const failure = expect(results[1]).rejects.toThrow('refused')
  await end('1', new Error('refused'))
  await failure
  expect(started).toEqual(['0', '1', '2'])
  await end('0')
  await end('2')
  expect(started).toEqual(['0', '1', '2', '3', '4'])
  await end('3')
  await end('4')
  expect(await Promise.all([results[0], results[2], results[3], results[4]])).toEqual(['0', '2', '3', '4'])
  expect(await slots.run('shop', NEVER, async () => 'free again')).toBe('free again')
})

test('owners are served in turn, and one owner takes at most half of the slots while others wait', async () => {
  const { started, run, end } = taskRunner(new TaskSlots(4, 10))
  for (let i = 0; i < 7; i++) run(`a${i}`, 'a')
  for (let i = 0; i < 3; i++) run(`b${i}`, 'b')
  run('c0', 'c')
  expect(started).toEqual(['a0', 'a1', 'a2', 'a3'])
  await end('a0')
  await end('a1')
  expect(started.slice(4)).toEqual(['b0', 'c0'])
  await end('a2')
  expect(started.slice(6)).toEqual(['a4'])
  await end('a3')
  expect(started.slice(7)).toEqual(['b1'])
  await end('c0')
  expect(started.slice(8)).toEqual(['a5'])
  await end('b0')
  expect(started.slice(9)).toEqual(['b2'])
  await end('b1')
  expect(started.slice(10)).toEqual(['a6'])
})

test('an owner whose queue is full is refused, and others are not', async () => {
  const { started, run, end } = taskRunner(new TaskSlots(1, 2))
  const first = run('a0', 'a')
  const second = run('a1', 'a')
  run('a2', 'a')
  await expect(run('a3', 'a')).rejects.toMatchObject({ code: 'overloaded' })
  run('b0', 'b')
  await end('a0')
  await end('a1')
  expect(await Promise.all([first, second])).toEqual(['a0', 'a1'])
  expect(started).toEqual(['a0', 'a1', 'b0'])
})

describe('an aborted task', () => {
  const reason = new GatewayError('request_timeout', 'the client is gone')

  it('leaves the queue', async () => {
    const { started, run, end } = taskRunner(new TaskSlots(1, 2))
    const signal = new QuerySignal()
    run('a0', 'a')
    const abandoned = run('b0', 'b', signal)
    run('c0', 'c')
    signal.abort(reason)
    await expect(abandoned).rejects.toBe(reason)
    await end('a0')
    expect(started).toEqual(['a0', 'c0'])
    await end('c0')
    await run('b1', 'b', signal).catch((error) => expect(error).toBe(reason))
    run('b2', 'b')
    expect(started).toEqual(['a0', 'c0', 'b2'])
  })

  it('does not start, and releases its slot, if it is aborted when it gets the slot', async () => {
    const { started, run, end } = taskRunner(new TaskSlots(1, 2))
    const signal = new QuerySignal()
    run('a0', 'a').then(() => signal.abort(reason))
    const abandoned = expect(run('b0', 'b', signal)).rejects.toBe(reason)
    run('c0', 'c')
    await end('a0')
    await abandoned
    await settle()
    expect(started).toEqual(['a0', 'c0'])
  })
})
