import { randomBytes } from 'node:crypto'
import { DAY_MS } from '../../model/time.ts'
import { WATERMARK_MS } from '../../store/lifetimes.ts'

/**
 * Gives each commit its writer name and number, for each partition. Names are random, and the numbers under a name
 * count from 1. They are not taken from a counter in the store: after lost writes it could return a number twice.
 */
export class CommitNumbers {
  readonly #names: string[]
  readonly #numbers: number[]
  /** Time at which the latest number of each partition was taken. */
  readonly #takenMs: number[]

  constructor(partitions: number) {
    this.#names = new Array<string>(partitions).fill(newName())
    this.#numbers = new Array<number>(partitions).fill(0)
    this.#takenMs = new Array<number>(partitions).fill(Number.POSITIVE_INFINITY)
  }

  name(partition: number): string {
    return this.#names[partition]!
  }

  /** Whether the writer was idle for a day and should take a new name: stores delete watermarks after 7 days. */
  needsNewName(partition: number, nowMs: number): boolean {
    return nowMs - this.#takenMs[partition]! > NAME_MS_MAX
  }

  /** Whether the watermark may have expired. If so, a missing watermark does not prove lost writes. */
  mayHaveExpired(partition: number, nowMs: number): boolean {
    return nowMs - this.#takenMs[partition]! > WATERMARK_MS_MAX
  }

  take(partition: number, nowMs: number): { readonly writer: string; readonly commitNumber: number } {
    this.#takenMs[partition] = nowMs
    return { writer: this.#names[partition]!, commitNumber: ++this.#numbers[partition]! }
  }

  /** Chooses a new name for a partition. Numbers up to `taken` are already in use under it. */
  rename(partition: number, taken = 0): void {
    this.#names[partition] = newName()
    this.#numbers[partition] = taken
  }
}

const NAME_MS_MAX = DAY_MS
/** One day less than stores keep watermarks: the clock of the gateway that deletes them may be ahead of ours. */
const WATERMARK_MS_MAX = WATERMARK_MS - DAY_MS

function newName(): string {
  return randomBytes(16).toString('hex')
}
