import { useEffect, useState } from 'preact/hooks'
import { errorCodeOf, sendOnce } from '../session/gateway.ts'

/** The project and the scopes of the API key. */
export interface Viewer {
  readonly project: string
  readonly scopes: readonly string[]
}

/**
 * A hook that loads the viewer. Undefined until the gateway has responded, and if it does not know the key. After any
 * other error, the viewer has an empty project and no scopes.
 */
export function useViewer(key: string | undefined, onUnknownKey: () => void): Viewer | undefined {
  const [viewer, setViewer] = useState<Viewer | undefined>(undefined)
  useEffect(() => {
    setViewer(undefined)
    if (key === undefined) return
    const unmounted = new AbortController()
    sendOnce({ query: '{ viewer { project scopes } }' }, { key, signal: unmounted.signal })
      .then((result) => {
        if (errorCodeOf(result) === 'INVALID_API_KEY') return onUnknownKey()
        setViewer((result.data as { viewer: Viewer | null } | undefined)?.viewer ?? { project: '', scopes: [] })
      })
      .catch(() => {})
    return () => unmounted.abort()
  }, [key])
  return viewer
}
