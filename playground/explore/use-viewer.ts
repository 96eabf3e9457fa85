import { useEffect, useState } from 'preact/hooks'
import { ask, codeOf } from '../session/gateway.ts'

/** Whose key it is. */
export interface Viewer {
  readonly project: string
  readonly scopes: readonly string[]
}

/** Undefined until the gateway has answered. */
export function useViewer(key: string | undefined, onUnknownKey: () => void): Viewer | undefined {
  const [viewer, setViewer] = useState<Viewer | undefined>(undefined)
  useEffect(() => {
    setViewer(undefined)
    if (key === undefined) return
    const ending = new AbortController()
    ask({ query: '{ viewer { project scopes } }' }, { key, signal: ending.signal })
      .then((answer) => {
        if (codeOf(answer) === 'INVALID_API_KEY') return onUnknownKey()
        setViewer((answer.data as { viewer: Viewer | null } | undefined)?.viewer ?? { project: '', scopes: [] })
      })
      .catch(() => {})
    return () => ending.abort()
  }, [key])
  return viewer
}
