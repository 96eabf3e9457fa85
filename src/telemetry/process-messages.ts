import type { Worker } from 'node:cluster'
import type { MetricFamily } from './telemetry.ts'

/** All that the processes of one machine say to each other: a started one to the one that started it, and back. */

export type ToStarter =
  /** How its start went, once. */
  | { readonly kind: 'listens'; readonly url: string; readonly firstKey: string | undefined }
  | { readonly kind: 'failed'; readonly reason: string }
  /** It wants the metrics of all. */
  | { readonly kind: 'readAll' }
  /** Its own metrics, as it was asked. Undefined: it could not read them. */
  | { readonly kind: 'own'; readonly families: readonly MetricFamily[] | undefined }

export type ToStarted =
  /** Its own metrics are wanted. */
  { readonly kind: 'readOwn' } | { readonly kind: 'all'; readonly text: string }

/** Tells the process that started this one; resolves when that is on its way. */
export function tell(message: ToStarter): Promise<void> {
  return new Promise((resolve) => {
    // One that is gone hears nothing; this process then ends by itself.
    if (process.send === undefined) resolve()
    else process.send(message, undefined, undefined, () => resolve())
  })
}

/** Tells a started process; one that is gone hears nothing. */
export function tellStarted(worker: Worker, message: ToStarted): void {
  worker.send(message, () => {})
}

/** Both ends are this program: what arrives is what was told. */
export function hear(listener: (message: ToStarted) => void): void {
  process.on('message', listener)
}

export function hearStarted(worker: Worker, listener: (message: ToStarter) => void): void {
  worker.on('message', listener)
}
