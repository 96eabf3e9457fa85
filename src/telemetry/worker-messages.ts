import type { Worker } from 'node:cluster'
import type { MetricFamily } from './telemetry-interface.ts'

/**
 * All messages between the processes of one gateway: the primary process, and the workers that it started. Both ends
 * run the same version of this program, so a received message has the type that was sent.
 */

export type MessageToPrimary =
  /** A worker sends one of these two at the end of its start: it listens, or it could not start. */
  | { readonly kind: 'listens'; readonly url: string; readonly firstKey: string | undefined }
  | { readonly kind: 'failed'; readonly reason: string }
  /** Requests the metrics of all processes. `requestId` is unique in the worker. */
  | { readonly kind: 'readAll'; readonly requestId: number }
  /** The worker's own metrics, in response to `readOwn`. Undefined if the worker could not read them. */
  | { readonly kind: 'own'; readonly families: readonly MetricFamily[] | undefined }

export type MessageToWorker =
  /** Requests the worker's own metrics. */
  | { readonly kind: 'readOwn' }
  /** The metrics of all processes, in response to the `readAll` with this `requestId`. */
  | { readonly kind: 'all'; readonly requestId: number; readonly text: string }

/** Sends a message to the primary process. Resolves when it has been sent or dropped; never rejects. */
export function sendToPrimary(message: MessageToPrimary): Promise<void> {
  return new Promise((resolve) => {
    // Without a primary process, the message is dropped. A worker that loses its primary process exits by itself.
    if (process.send === undefined) resolve()
    else process.send(message, undefined, undefined, () => resolve())
  })
}

/** Sends a message to a worker. The message is dropped if the worker has exited. */
export function sendToWorker(worker: Worker, message: MessageToWorker): void {
  worker.send(message, () => {})
}

export function onPrimaryMessage(listener: (message: MessageToWorker) => void): void {
  process.on('message', listener)
}

export function onWorkerMessage(worker: Worker, listener: (message: MessageToPrimary) => void): void {
  worker.on('message', listener)
}
