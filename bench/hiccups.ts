import { isMainThread, Worker, workerData } from 'node:worker_threads'

/**
 * Measures how long the machine makes any thread wait: a thread that does nothing else sleeps for a millisecond again
 * and again, and records how late it wakes. A server on this machine cannot respond faster than that.
 */
const SLEEP_MS = 1

export class HiccupMeter {
  /** The greatest lateness since the last reset, in microseconds. */
  readonly #maximum = new Int32Array(new SharedArrayBuffer(4))
  readonly #worker = new Worker(new URL(import.meta.url), { workerData: this.#maximum })

  maximumMs(): number {
    return Atomics.load(this.#maximum, 0) / 1_000
  }

  reset(): void {
    Atomics.store(this.#maximum, 0, 0)
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}

if (!isMainThread && workerData instanceof Int32Array) measure(workerData)

function measure(maximum: Int32Array): never {
  const never = new Int32Array(new SharedArrayBuffer(4))
  for (;;) {
    const startMs = performance.now()
    Atomics.wait(never, 0, 0, SLEEP_MS)
    const lateMs = performance.now() - startMs - SLEEP_MS
    if (lateMs * 1_000 > Atomics.load(maximum, 0)) Atomics.store(maximum, 0, Math.round(lateMs * 1_000))
  }
}
