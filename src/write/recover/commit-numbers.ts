import { randomBytes } from 'node:crypto'
import { DAY_MS } from '../../model/time.ts'
import { WATERMARK_KEPT_MS } from '../../store/bookkeeping-lifetimes.ts'

/**
 * Gives each commit a writer name and a number. Names are random. Each partition has its own numbers: the commits under
 * a name are numbered from 1 without gaps. The numbers are not taken from a counter in the store, because a store that
 * lost writes could return a number twice.
 */
export class CommitNumbers {
  readonly #writerNames: string[]
  readonly #lastCommitNumbers: number[]
  /** Time at which the last number of each partition was taken. Infinity: none was taken yet. */
  readonly #lastTakenMs: number[]

  constructor(partitions: number) {
    this.#writerNames = new Array<string>(partitions).fill(randomWriterName())
    this.#lastCommitNumbers = new Array<number>(partitions).fill(0)
    this.#lastTakenMs = new Array<number>(partitions).fill(Number.POSITIVE_INFINITY)
  }

  writerName(partition: number): string {
    return this.#writerNames[partition]!
  }

  /**
   * Whether the last commit of the partition is more than a day old. The partition then needs a new writer name, well
   * before stores delete its watermark (after 7 days): without the watermark, the next number would look like a gap.
   * False if there was no commit yet.
   */
  needsNewWriterName(partition: number, nowMs: number): boolean {
    return nowMs - this.#lastTakenMs[partition]! > WRITER_NAME_IDLE_MS_MAX
  }

  /**
   * Whether the store may have deleted the watermark of the partition because of its age. If so, a missing watermark
   * does not prove lost writes. False if there was no commit yet.
   */
  mayWatermarkBeExpired(partition: number, nowMs: number): boolean {
    return nowMs - this.#lastTakenMs[partition]! > WATERMARK_KEPT_MS_MIN
  }

  /** Takes the next number of a partition. */
  take(partition: number, nowMs: number): { readonly writer: string; readonly commitNumber: number } {
    this.#lastTakenMs[partition] = nowMs
    return { writer: this.#writerNames[partition]!, commitNumber: ++this.#lastCommitNumbers[partition]! }
  }

  /**
   * Chooses a new writer name for a partition. Under it, `lastNumber` commits are numbered already: those that are kept
   * for a replay.
   */
  changeWriterName(partition: number, lastNumber = 0): void {
    this.#writerNames[partition] = randomWriterName()
    this.#lastCommitNumbers[partition] = lastNumber
  }
}

/** A writer name is used again if the last commit under it is not older than this. */
const WRITER_NAME_IDLE_MS_MAX = DAY_MS
/**
 * Time after the last commit during which its watermark is not deleted because of its age. It is one day less than
 * stores keep watermarks, because the clock of the gateway that deletes them may be ahead of ours.
 */
const WATERMARK_KEPT_MS_MIN = WATERMARK_KEPT_MS - DAY_MS

function randomWriterName(): string {
  return randomBytes(16).toString('hex')
}
