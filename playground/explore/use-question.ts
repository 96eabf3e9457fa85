import { useEffect, useState } from 'preact/hooks'
import { formatAddress, parseAddress } from '../question/address.ts'
import type { Question } from '../question/question.ts'

/**
 * Sets the question and the address of the page. `push`, the default, adds a history entry, so that the back button
 * restores the previous question; `replace` does not.
 */
export type SetQuestion = (question: Question, historyMode?: 'push' | 'replace') => void

/** A hook that keeps the question in the address of the page, and follows the back and forward buttons. */
export function useQuestion(): readonly [Question, SetQuestion] {
  const [question, setCurrent] = useState(() => questionOfAddress())
  useEffect(() => {
    const restore = (): void => setCurrent(questionOfAddress())
    addEventListener('popstate', restore)
    return () => removeEventListener('popstate', restore)
  }, [])
  const setQuestion: SetQuestion = (next, historyMode = 'push') => {
    setCurrent(next)
    const address = `${location.pathname}${formatAddress(next)}`
    if (address === `${location.pathname}${location.search}`) return
    if (historyMode === 'push') history.pushState(null, '', address)
    else history.replaceState(null, '', address)
  }
  return [question, setQuestion]
}

function questionOfAddress(): Question {
  return parseAddress(location.search, localZone())
}

export function localZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC'
}
