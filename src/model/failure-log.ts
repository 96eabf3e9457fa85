/**
 * Reports failures of work that is retried until it succeeds. Until then each reason is reported only once, so that a
 * full disk does not fill the log.
 */
export class FailureLog {
  readonly #report: (cause: unknown) => void
  readonly #reported = new Set<string>()

  constructor(report: (cause: unknown) => void) {
    this.#report = report
  }

  failed(cause: unknown): void {
    const reason = reasonOf(cause)
    if (this.#reported.has(reason)) return
    this.#reported.add(reason)
    this.#report(cause)
  }

  succeeded(): void {
    this.#reported.clear()
  }
}

/**
 * Returns the code of the innermost cause of an error, or its name if it has no code; the type of a thrown value that
 * is not an error. The message is not used, because it may differ from one retry to the next.
 */
function reasonOf(error: unknown): string {
  let first = error
  while (first instanceof Error && first.cause !== undefined) first = first.cause
  if (!(first instanceof Error)) return typeof first
  return 'code' in first ? String(first.code) : first.name
}
