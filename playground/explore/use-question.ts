import { useEffect, useState } from 'preact/hooks'
import { formatAddress, parseAddress } from '../question/address.ts'
import type { Question } from '../question/question.ts'

/** `push`: the back button returns to the question before. */
export type Ask = (question: Question, how?: 'push' | 'replace') => void

/** The question of the address. Asking another one changes the address, and the back button changes the question. */
export function useQuestion(): readonly [Question, Ask] {
  const [question, setQuestion] = useState(() => questionOfAddress())
  useEffect(() => {
    const restore = (): void => setQuestion(questionOfAddress())
    addEventListener('popstate', restore)
    return () => removeEventListener('popstate', restore)
  }, [])
  const ask: Ask = (next, how = 'push') => {
    setQuestion(next)
    const address = `${location.pathname}${formatAddress(next)}`
    if (address === `${location.pathname}${location.search}`) return
    if (how === 'push') history.pushState(null, '', address)
    else history.replaceState(null, '', address)
  }
  return [question, ask]
}

function questionOfAddress(): Question {
  return parseAddress(location.search, localZone())
}

export function localZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC'
}
