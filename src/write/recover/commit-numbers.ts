import { randomBytes } from 'node:crypto'
import { DAY_MS } from '../../model/time.ts'
import { WATERMARK_MS } from '../../store/lifetimes.ts'

/**
 * The writer's name and the number of the next commit, for each partition. Names are random and numbers count from 1
 * under each name: a counter kept in the store could be handed out twice after lost writes.
 */
export class CommitNumbers {
  readonly #names: string[]
  readonly #numbers: number[]
  /** When the latest number was taken. */
  readonly #takenMs: number[]

  constructor(partitions: number) {
    this.#names = new Array<string>(partitions).fill(newName())
    this.#numbers = new Array<number>(partitions).fill(0)
    this.#takenMs = new Array<number>(partitions).fill(Number.POSITIVE_INFINITY)
  }

  name(partition: number): string {
    return this.#names[partition]!
  }

  /** Whether the writer was idle for so long that it should take a new name: stores delete watermarks after 7 days. */
  needsNewName(partition: number, nowMs: number): boolean {
    return nowMs - this.#takenMs[partition]! > NAME_MS_MAX
  }

  /** Whether the watermark may have expired: then a missing watermark does not mean lost writes. */
  mayHaveExpired(partition: number, nowMs: number): boolean {
    return nowMs - this.#takenMs[partition]! > WATERMARK_MS_MAX
  }

  take(partition: number, nowMs: number): { readonly writer: string; readonly number: number } {
    this.#takenMs[partition] = nowMs
    return { writer: this.#names[partition]!, number: ++this.#numbers[partition]! }
  }

  /** Draws a new name, under which the numbers up to `taken` are in use. */
  rename(partition: number, taken = 0): void {
    this.#names[partition] = newName()
    this.#numbers[partition] = taken
  }
}

const NAME_MS_MAX = DAY_MS
/** A day less than stores keep watermarks: another gateway's clock may be ahead when it deletes them. */
const WATERMARK_MS_MAX = WATERMARK_MS - DAY_MS

function newName(): string {
  return randomBytes(16).toString('hex')
}
