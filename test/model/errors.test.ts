import { describe, expect, test } from 'vitest'
import { ERROR_MESSAGES_BYTES_MAX, ErrorMessageBudget, QUOTED_CHARS_MAX, quote } from '../../src/model/errors.ts'

describe('a text in a message', () => {
  test.each([
    ['short', 'short', '"short"'],
    ['as long as may be', 'x'.repeat(QUOTED_CHARS_MAX), `"${'x'.repeat(QUOTED_CHARS_MAX)}"`],
    ['a character longer', 'x'.repeat(QUOTED_CHARS_MAX + 1), `"${'x'.repeat(QUOTED_CHARS_MAX)}…"`],
    ['of characters beyond 16 bits', '😀'.repeat(QUOTED_CHARS_MAX), `"${'😀'.repeat(QUOTED_CHARS_MAX)}"`],
    ['of more of these', '😀'.repeat(5_000), `"${'😀'.repeat(QUOTED_CHARS_MAX)}…"`],
    ['cut between two of them', `x${'😀'.repeat(64)}`, `"x${'😀'.repeat(QUOTED_CHARS_MAX - 1)}…"`],
    ['with control characters', 'a\u0001"b', '"a\\u0001\\"b"'],
  ])('%s', (_name, text, quoted) => expect(quote(text)).toBe(quoted))
})

test('the messages of one response have a budget; errors beyond it have only their code', () => {
  const budget = new ErrorMessageBudget()
  const message = '\u0001'.repeat(100)
  const messages = Array.from({ length: 1_000 }, () => budget.take(message))
  const whole = messages.filter((text) => text === message).length
  expect(whole).toBe(Math.floor(ERROR_MESSAGES_BYTES_MAX / 602))
  // Also what would fit again: which errors have a message does not depend on their length.
  expect(budget.take('short')).not.toBe('short')
  budget.restart()
  expect(budget.take('short')).toBe('short')
})
