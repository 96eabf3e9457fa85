import { AggregatorRegistry } from 'prom-client'
import { GatewayError } from '../model/errors.ts'
import { withTimeout } from '../model/with-timeout.ts'
import type { MetricFamily, ShareMetrics } from './telemetry-interface.ts'
import { onPrimaryMessage, sendToPrimary } from './worker-messages.ts'

/**
 * Merges the metrics of several processes. A worker that receives a request for metrics asks the primary process, which
 * asks all workers. Counters never decrease: for a worker that does not respond or has exited, its last known counters
 * are used.
 */

/** How long the primary waits for its workers: longer than `BACKLOG_WAIT_MS`, which a worker may wait for the store. */
const WORKERS_WAIT_MS = 3_000
/** How long a worker waits for the primary: longer than the primary waits for its workers. */
const PRIMARY_WAIT_MS = 5_000

interface WorkerState {
  /** The metrics that the worker sent last; empty if it has sent none yet. */
  families: readonly MetricFamily[]
  /** The request in progress. A slow worker gets no second request. */
  request: PendingRequest | undefined
}

interface PendingRequest {
  /** Resolves to true when the worker has sent its metrics; to false if it could not read them or has exited. */
  readonly response: Promise<boolean>
  finish(hasResponded: boolean): void
}

/** Reads and merges the metrics of all workers. Runs in the primary process. */
export class WorkerMetrics<W> {
  readonly #requestMetrics: (worker: W) => void
  readonly #runningWorkers = new Map<W, WorkerState>()
  /**
   * Counters and histograms of the workers that have exited. The exit of a worker that has sent metrics adds a list. A
   * read of the metrics merges the lists that it finds into one.
   */
  #exitedCounters: readonly (readonly MetricFamily[])[] = []
  #readInProgress: Promise<string> | undefined

  /** `requestMetrics` requests the metrics of a worker. The worker's response must be passed to `receiveResponse`. */
  constructor(requestMetrics: (worker: W) => void) {
    this.#requestMetrics = requestMetrics
  }

  addWorker(worker: W): void {
    this.#runningWorkers.set(worker, { families: [], request: undefined })
  }

  receiveResponse(worker: W, families: readonly MetricFamily[] | undefined): void {
    const workerState = this.#runningWorkers.get(worker)
    if (workerState === undefined) return
    if (families !== undefined) workerState.families = families
    workerState.request?.finish(families !== undefined)
    workerState.request = undefined
  }

  removeWorker(worker: W): void {
    const workerState = this.#runningWorkers.get(worker)
    if (workerState === undefined) return
    this.#runningWorkers.delete(worker)
    if (workerState.families.length > 0)
      this.#exitedCounters = [...this.#exitedCounters, workerState.families.filter(outlivesProcess)]
    workerState.request?.finish(false)
  }

  /** Returns the metrics of all workers as Prometheus text. Concurrent calls share one read. */
  readMetricsText(): Promise<string> {
    this.#readInProgress ??= this.#readAndMerge().finally(() => {
      this.#readInProgress = undefined
    })
    return this.#readInProgress
  }

  async #readAndMerge(): Promise<string> {
    const respondedWorkers = new Set<W>()
    const requests = [...this.#runningWorkers].map(async ([worker, workerState]) => {
      if (await this.#request(worker, workerState)) respondedWorkers.add(worker)
    })
    await withTimeout(
      WORKERS_WAIT_MS,
      () => Promise.all(requests),
      () => [],
    )
    const runningFamilies = [...this.#runningWorkers].map(([worker, { families }]) =>
      respondedWorkers.has(worker) ? families : families.filter(outlivesProcess),
    )
    const exitedCounters = this.#exitedCounters
    const all = mergeFamilies([...runningFamilies, ...exitedCounters])
    if (exitedCounters.length > 1) {
      const families = await metricFamiliesOf(mergeFamilies(exitedCounters))
      // A worker may have exited during this merge. Its counters are not in the merged list, so its own list is kept
      // as well.
      this.#exitedCounters = [families, ...this.#exitedCounters.slice(exitedCounters.length)]
    }
    return all.metrics()
  }

  #request(worker: W, workerState: WorkerState): Promise<boolean> {
    if (workerState.request !== undefined) return workerState.request.response
    let finish: (hasResponded: boolean) => void = () => {}
    const response = new Promise<boolean>((resolve) => {
      finish = resolve
    })
    workerState.request = { response, finish }
    this.#requestMetrics(worker)
    return response
  }
}

/**
 * Runs in a worker: sends its own metrics when the primary asks for them. The returned function reads the metrics of
 * all processes; it must not be called again before its promise has settled. The promise rejects with `overloaded` if
 * the primary does not respond in time.
 */
export const shareMetrics: ShareMetrics = (readOwn) => {
  /** The id of the latest request. A response to an earlier one, which has timed out, is ignored. */
  let requestId = 0
  let resolveResponse: ((text: string) => void) | undefined
  onPrimaryMessage((message) => {
    if (message.kind === 'readOwn') {
      readOwn().then(
        (families) => sendToPrimary({ kind: 'own', families }),
        () => sendToPrimary({ kind: 'own', families: undefined }),
      )
    } else if (message.requestId === requestId) resolveResponse?.(message.text)
  })
  return async () => {
    requestId++
    const response = new Promise<string>((resolve) => {
      resolveResponse = resolve
    })
    void sendToPrimary({ kind: 'readAll', requestId })
    return withTimeout(
      PRIMARY_WAIT_MS,
      () => response,
      () => {
        throw new GatewayError('overloaded', 'the processes of the gateway do not respond')
      },
    )
  }
}

/** Whether a metric stays valid after its process has exited: true for counters and histograms, false for gauges. */
function outlivesProcess({ type }: MetricFamily): boolean {
  return type === 'counter' || type === 'histogram'
}

type MergedRegistry = ReturnType<typeof AggregatorRegistry.aggregate>

function mergeFamilies(familiesByProcess: readonly (readonly MetricFamily[])[]): MergedRegistry {
  return AggregatorRegistry.aggregate([...familiesByProcess])
}

/** Returns the metrics of a registry in a form that can be sent as JSON and merged again, without NaN and infinity. */
export async function metricFamiliesOf(
  registry: Pick<MergedRegistry, 'getMetricsAsJSON'>,
): Promise<readonly MetricFamily[]> {
  const families = await registry.getMetricsAsJSON()
  return families.map(({ name, help, type, aggregator, values }) => ({
    name,
    help,
    // prom-client declares this field as a number; its value is a text.
    type: String(type),
    // Of several delays of event loops, the greatest says more than the mean.
    aggregator: aggregator === 'average' ? 'max' : aggregator,
    values: values.filter(({ value }) => Number.isFinite(value)),
  }))
}
