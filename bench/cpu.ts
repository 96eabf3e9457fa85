import { readdirSync, readFileSync } from 'node:fs'

/**
 * CPU time of processes, user and system, of all threads. It measures a cost independently of other work of the
 * machine. Linux only. The scheduler's counters are in nanoseconds but omit ended threads; those of the process are in
 * ticks of 10 ms and include them.
 */
const TICK_MS = 10

export class CpuMeter {
  readonly #processes: readonly ProcessMeter[]

  constructor(pids: readonly number[]) {
    this.#processes = pids.map((pid) => new ProcessMeter(pid))
  }

  readMs(): number {
    return this.#processes.reduce((sumMs, meter) => sumMs + meter.readMs(), 0)
  }
}

class ProcessMeter {
  readonly #pid: number
  readonly #threads = new Map<string, number>()

  constructor(pid: number) {
    this.#pid = pid
  }

  readMs(): number {
    for (const thread of readdirSync(`/proc/${this.#pid}/task`)) {
      const text = readOrUndefined(`/proc/${this.#pid}/task/${thread}/schedstat`)
      if (text !== undefined) this.#threads.set(thread, Number(text.split(' ', 1)[0]) / 1e6)
    }
    let sumMs = 0
    for (const ms of this.#threads.values()) sumMs += ms
    return Math.max(sumMs, processMs(this.#pid))
  }
}

function processMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The second field is the command in parentheses and may hold spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

/** Bytes that a process has written to the disk. */
export function diskBytesOf(pid: number): number {
  const line = /^write_bytes: (\d+)$/m.exec(readOrUndefined(`/proc/${pid}/io`) ?? '')
  return Number(line?.[1] ?? Number.NaN)
}

/** A thread may end between being listed and being read. */
function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}
