import { constants, openSync, writeSync } from 'node:fs'
import { isMainThread, Worker, workerData } from 'node:worker_threads'

/**
 * Measures how long the machine itself lets a server wait, on a thread that does nothing else. A server on this machine
 * cannot respond faster than that.
 */

/**
 * `wake`: the thread sleeps for a millisecond again and again; the delay is how late it wakes. `sync`: the thread
 * writes 4 KB to a file and syncs them to disk, 20 times a second; the delay is how long that takes.
 */
type Measured = { readonly kind: 'wake' } | { readonly kind: 'sync'; readonly path: string }

interface MeterData {
  readonly measured: Measured
  /** The greatest delay since the last reset, in microseconds. */
  readonly maximum: Int32Array<SharedArrayBuffer>
}

const SLEEP_MS = 1
const SYNC_INTERVAL_MS = 50
const SYNCED_BYTES = 4_096
/** Nothing wakes a thread that waits for this. */
const never = new Int32Array(new SharedArrayBuffer(4))

export class DelayMeter {
  readonly #maximum = new Int32Array(new SharedArrayBuffer(4))
  readonly #worker: Worker

  constructor(measured: Measured) {
    const data: MeterData = { measured, maximum: this.#maximum }
    this.#worker = new Worker(new URL(import.meta.url), { workerData: data })
  }

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

/** The bench has other workers, and this module may be loaded in them. */
function isMeterData(data: unknown): data is MeterData {
  return typeof data === 'object' && data !== null && 'measured' in data && 'maximum' in data
}

function measure({ measured, maximum }: MeterData): never {
  const nextDelayMs = measured.kind === 'wake' ? wakeLate : syncer(measured.path)
  for (;;) {
    const delayUs = Math.round(nextDelayMs() * 1_000)
    if (delayUs > Atomics.load(maximum, 0)) Atomics.store(maximum, 0, delayUs)
  }
}

function wakeLate(): number {
  const startMs = performance.now()
  sleep(SLEEP_MS)
  return performance.now() - startMs - SLEEP_MS
}

function syncer(path: string): () => number {
  const { O_CREAT, O_DSYNC, O_WRONLY } = constants
  // macOS and Windows have no O_DSYNC. There, the delay is only that of the write.
  const file = openSync(path, O_CREAT | O_WRONLY | (O_DSYNC ?? 0))
  const bytes = new Uint8Array(SYNCED_BYTES).fill(1)
  return () => {
    sleep(SYNC_INTERVAL_MS)
    const startMs = performance.now()
    writeSync(file, bytes, 0, SYNCED_BYTES, 0)
    return performance.now() - startMs
  }
}

function sleep(forMs: number): void {
  Atomics.wait(never, 0, 0, forMs)
}

if (!isMainThread && isMeterData(workerData)) measure(workerData)
