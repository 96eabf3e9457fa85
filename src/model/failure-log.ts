/**
 * Reports failures of work that is retried until it succeeds. Until then each reason is reported only once, so that a
 * full disk does not fill the log.
 */
export class FailureLog {
  readonly #report: (cause: unknown) => void
  readonly #reportedReasons = new Set<string>()

  constructor(report: (cause: unknown) => void) {
    this.#report = report
  }

  recordFailure(cause: unknown): void {
    const reason = reasonOf(cause)
    if (this.#reportedReasons.has(reason)) return
    this.#reportedReasons.add(reason)
    this.#report(cause)
  }

  recordSuccess(): void {
    this.#reportedReasons.clear()
  }
}

/**
 * Returns the code of the innermost cause of an error; its name if it has no code, or its type if it is not an `Error`.
 * The message is not used, because it may differ from one retry to the next.
 */
function reasonOf(error: unknown): string {
  let innermost = error
  while (innermost instanceof Error && innermost.cause !== undefined) innermost = innermost.cause
  if (!(innermost instanceof Error)) return typeof innermost
  return 'code' in innermost ? String(innermost.code) : innermost.name
}
