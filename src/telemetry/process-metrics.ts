import { AggregatorRegistry } from 'prom-client'
import { GatewayError } from '../model/errors.ts'
import { hear, tell } from './process-messages.ts'
import type { MetricFamily, ShareMetrics } from './telemetry.ts'

/**
 * The metrics of several processes as those of one. Whichever process is asked for them asks the one that started it, which asks
 * all. Counters never go back: of a process that does not answer, or lives no more, the last that was known goes on counting.
 */

/** How long the processes may take; longer than each of them waits for the store. */
const PROCESS_WAIT_MS = 3_000
/** How long the one that asks them may take. */
const ALL_WAIT_MS = 5_000

interface Known {
  families: readonly MetricFamily[]
  /** Asked and not yet answered, maybe for long: it is not asked twice. */
  question: Question | undefined
}

interface Question {
  /** Whether it answered. */
  readonly settled: Promise<boolean>
  settle(isAnswered: boolean): void
}

/** In the process that started the others. */
export class ProcessMetrics<P> {
  readonly #ask: (process: P) => void
  readonly #living = new Map<P, Known>()
  /** What those that are gone have counted; made one at each reading. */
  #gone: readonly (readonly MetricFamily[])[] = []
  #reading: Promise<string> | undefined

  /** `ask` makes the process tell its metrics, which are then to be `heard`. */
  constructor(ask: (process: P) => void) {
    this.#ask = ask
  }

  joined(process: P): void {
    this.#living.set(process, { families: [], question: undefined })
  }

  heard(process: P, families: readonly MetricFamily[] | undefined): void {
    const known = this.#living.get(process)
    if (known === undefined) return
    if (families !== undefined) known.families = families
    known.question?.settle(families !== undefined)
    known.question = undefined
  }

  left(process: P): void {
    const known = this.#living.get(process)
    if (known === undefined) return
    this.#living.delete(process)
    if (known.families.length > 0) this.#gone = [...this.#gone, known.families.filter(isLasting)]
    known.question?.settle(false)
  }

  /** Prometheus text. Readers that come together share one answer. */
  read(): Promise<string> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<string> {
    const answered = new Set<P>()
    const asking = [...this.#living].map(async ([process, known]) => {
      if (await this.#question(process, known)) answered.add(process)
    })
    await answerWithin(PROCESS_WAIT_MS, Promise.all(asking))
    const parts = [...this.#living].map(([process, { families }]) =>
      answered.has(process) ? families : families.filter(isLasting),
    )
    const gone = this.#gone
    const all = merged([...parts, ...gone])
    if (gone.length > 1) {
      const families = await familiesOf(merged(gone))
      // More may have gone meanwhile.
      this.#gone = [families, ...this.#gone.slice(gone.length)]
    }
    return all.metrics()
  }

  #question(process: P, known: Known): Promise<boolean> {
    if (known.question !== undefined) return known.question.settled
    let settle: (isAnswered: boolean) => void = () => {}
    const settled = new Promise<boolean>((resolve) => {
      settle = resolve
    })
    known.question = { settled, settle }
    this.#ask(process)
    return settled
  }
}

/**
 * In a started process: tells its own when asked, and reads those of all, one reading at a time. Rejects with `overloaded` when
 * nobody answers.
 */
export const shareMetrics: ShareMetrics = (own) => {
  let answered: ((text: string) => void) | undefined
  hear((message) => {
    if (message.kind === 'readOwn') {
      own().then(
        (families) => tell({ kind: 'own', families }),
        () => tell({ kind: 'own', families: undefined }),
      )
    } else answered?.(message.text)
  })
  return async () => {
    const answer = new Promise<string>((resolve) => {
      answered = resolve
    })
    void tell({ kind: 'readAll' })
    const text = await answerWithin(ALL_WAIT_MS, answer)
    if (text === undefined) throw new GatewayError('overloaded', 'the processes of the gateway do not answer')
    return text
  }
}

/** What a process has counted stays true when it is gone; what it holds does not. */
function isLasting({ type }: MetricFamily): boolean {
  return type === 'counter' || type === 'histogram'
}

type Merged = ReturnType<typeof AggregatorRegistry.aggregate>

function merged(parts: readonly (readonly MetricFamily[])[]): Merged {
  return AggregatorRegistry.aggregate([...parts])
}

/** The other way round: as they can be told and merged again. */
export async function familiesOf(registry: Pick<Merged, 'getMetricsAsJSON'>): Promise<readonly MetricFamily[]> {
  const families = await registry.getMetricsAsJSON()
  return families.map(({ name, help, type, aggregator, values }) => ({
    name,
    help,
    // Typed as a number, which it is not.
    type: String(type),
    // Of delays the worst one tells more than the mean of them.
    aggregator: aggregator === 'average' ? 'max' : aggregator,
    values: values.filter(({ value }) => Number.isFinite(value)),
  }))
}

/** Undefined when it takes longer. */
export async function answerWithin<T>(waitMs: number, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), waitMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
