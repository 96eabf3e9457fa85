import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { readFragment } from '../session/fragment.ts'
import { storedKey, storeKey, takeKeyFromAddress, watchAddressForKey } from '../session/key.ts'
import { KeyForm, UNKNOWN_KEY } from '../session/key-form.tsx'
import { openGraphiQL } from './open-graphiql.tsx'
import { elementById } from './page.ts'

/**
 * Asks for an API key, then opens GraphiQL. The key and the edited GraphiQL tabs are kept in the session storage of the
 * browser tab. A new browser tab starts with the examples, after the operation of a link such as `/graphql#query=…`.
 */
takeKeyFromAddress()
const { query } = readFragment(location.hash)
if (query !== undefined) history.replaceState(history.state, '', location.pathname)
/** The stored key, with which GraphiQL is opened at once. An open GraphiQL uses another key only after a reload. */
const usedKey = storedKey()

function Page() {
  const [problem, setProblem] = useState('')
  const [isAsking, setAsking] = useState(usedKey === undefined)
  useEffect(() => watchAddressForKey(() => location.reload()), [])
  useEffect(() => {
    const askAgain = ({ target }: MouseEvent): void => {
      if (target instanceof Element && target.closest('#change-key') !== null) setAsking(true)
    }
    document.addEventListener('click', askAgain)
    return () => document.removeEventListener('click', askAgain)
  }, [])
  const open = (key: string): void => {
    const onUnknownKey = (): void => {
      setProblem(UNKNOWN_KEY)
      setAsking(true)
    }
    void openGraphiQL({ key, query, onUnknownKey })
  }
  useEffect(() => {
    if (usedKey !== undefined) open(usedKey)
  }, [])
  if (!isAsking) return null
  return (
    <KeyForm
      problem={problem}
      onCancel={usedKey !== undefined && problem === '' ? () => setAsking(false) : undefined}
      onKey={(key) => {
        storeKey(key)
        // Reloads an open GraphiQL with the new key. Its tabs are in the session storage.
        if (usedKey !== undefined || elementById('graphiql').childElementCount > 0) return location.reload()
        setAsking(false)
        open(key)
      }}
    />
  )
}

render(<Page />, elementById('key-root'))
