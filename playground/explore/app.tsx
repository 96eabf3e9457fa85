import { useEffect, useState } from 'preact/hooks'
import { storedKey, storeKey, watchAddressForKey } from '../session/key.ts'
import { KeyForm, Logo, UNKNOWN_KEY } from '../session/key-form.tsx'
import { Explorer } from './explorer.tsx'
import { useViewer } from './use-viewer.ts'

/** The page of the explorer: a header; then a form that asks for an API key, or the explorer if there is a key. */
export function App() {
  const [key, setKey] = useState(storedKey)
  const [problem, setProblem] = useState('')
  const [isAsking, setAsking] = useState(key === undefined)
  const viewer = useViewer(key, () => {
    setProblem(UNKNOWN_KEY)
    setAsking(true)
  })
  const acceptKey = (entered: string): void => {
    storeKey(entered)
    setProblem('')
    setAsking(false)
    setKey(entered)
  }
  useEffect(() => watchAddressForKey(() => location.reload()), [])
  return (
    <>
      <header class="topbar">
        <a class="brand" href="/explore">
          <Logo />
          GaugeQL
        </a>
        <nav aria-label="Pages">
          <a href="/explore" aria-current="page">
            Explore
          </a>
          <a href="/graphql">GraphiQL</a>
        </nav>
        {key !== undefined && (
          <div class="project">
            {viewer !== undefined && viewer.project !== '' && (
              <span class="project-name">
                Project <b>{viewer.project}</b>
              </span>
            )}
            <button type="button" class="button" onClick={() => setAsking(true)}>
              Change key
            </button>
          </div>
        )}
      </header>
      {key !== undefined && viewer !== undefined && !(isAsking && problem !== '') && (
        <Explorer key={key} apiKey={key} viewer={viewer} />
      )}
      {isAsking && (
        <KeyForm
          problem={problem}
          onKey={acceptKey}
          onCancel={key !== undefined && problem === '' ? () => setAsking(false) : undefined}
        />
      )}
    </>
  )
}
