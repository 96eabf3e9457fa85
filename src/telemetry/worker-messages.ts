import type { Worker } from 'node:cluster'
import type { MetricFamily } from './telemetry-interface.ts'

/**
 * All messages between the processes of one gateway: the primary process, which started the others, and its workers.
 * Both ends run the same version of this program, so a received message has the type that was sent.
 */

export type ToPrimary =
  /** Whether the worker could start, once. */
  | { readonly kind: 'listens'; readonly url: string; readonly firstKey: string | undefined }
  | { readonly kind: 'failed'; readonly reason: string }
  /** The worker wants the metrics of all processes. */
  | { readonly kind: 'readAll' }
  /** The worker's own metrics, as requested. Undefined: it could not read them. */
  | { readonly kind: 'own'; readonly families: readonly MetricFamily[] | undefined }

type ToWorker =
  /** The primary wants the worker's own metrics. */
  { readonly kind: 'readOwn' } | { readonly kind: 'all'; readonly text: string }

/** Resolves when the message is on its way. */
export function sendToPrimary(message: ToPrimary): Promise<void> {
  return new Promise((resolve) => {
    // Without a primary the message is dropped; a worker that lost its primary exits by itself.
    if (process.send === undefined) resolve()
    else process.send(message, undefined, undefined, () => resolve())
  })
}

/** A message to a worker that has exited is dropped. */
export function sendToWorker(worker: Worker, message: ToWorker): void {
  worker.send(message, () => {})
}

export function onPrimaryMessage(listener: (message: ToWorker) => void): void {
  process.on('message', listener)
}

export function onWorkerMessage(worker: Worker, listener: (message: ToPrimary) => void): void {
  worker.on('message', listener)
}
