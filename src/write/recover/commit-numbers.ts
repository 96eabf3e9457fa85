import { randomBytes } from 'node:crypto'
import { DAY_MS } from '../../model/time.ts'
import { WATERMARK_MS } from '../../store/terms.ts'

/**
 * Under which name and number the next commit of each partition goes. A name is drawn at random and numbers count from 1 under
 * it: a counter of the store's would be handed out twice by a store that forgot the first time.
 */
export class CommitNumbers {
  readonly #names: string[]
  readonly #numbers: number[]
  /** When the number was taken. */
  readonly #takenMs: number[]

  constructor(partitions: number) {
    this.#names = new Array<string>(partitions).fill(newName())
    this.#numbers = new Array<number>(partitions).fill(0)
    this.#takenMs = new Array<number>(partitions).fill(Number.POSITIVE_INFINITY)
  }

  name(partition: number): string {
    return this.#names[partition]!
  }

  /** Stores forget the watermark of a writer that was silent for 7 days; long before, its name should be drawn anew. */
  isOutworn(partition: number, nowMs: number): boolean {
    return nowMs - this.#takenMs[partition]! > NAME_MS_MAX
  }

  /** A watermark that is missing may be so for its age alone: nothing says that what was under it is gone. */
  isLapsed(partition: number, nowMs: number): boolean {
    return nowMs - this.#takenMs[partition]! > WATERMARK_MS_MAX
  }

  take(partition: number, nowMs: number): { readonly writer: string; readonly number: number } {
    this.#takenMs[partition] = nowMs
    return { writer: this.#names[partition]!, number: ++this.#numbers[partition]! }
  }

  /** A new name, under which so many numbers are taken already. */
  rename(partition: number, taken = 0): void {
    this.#names[partition] = newName()
    this.#numbers[partition] = taken
  }
}

const NAME_MS_MAX = DAY_MS
/** A day less than stores keep them: other gateways' clocks, by which they are let go, may be ahead. */
const WATERMARK_MS_MAX = WATERMARK_MS - DAY_MS

function newName(): string {
  return randomBytes(16).toString('hex')
}
