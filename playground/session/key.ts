import { readFragment } from './fragment.ts'

/**
 * The API key of this browser tab, shared by both pages. It is kept in the session storage. Pages send it only in a
 * header; a link may bring it in the URL fragment, which browsers do not send.
 */
const STORAGE_KEY = 'gaugeql:key'

/** Stores the key of an address such as `/explore#key=…`, and removes it from the address and its history entry. */
export function takeKeyFromAddress(): void {
  const { key, hashWithoutKey } = readFragment(location.hash)
  if (key === undefined) return
  history.replaceState(history.state, '', `${location.pathname}${location.search}${hashWithoutKey}`)
  storeKey(key)
}

export function storedKey(): string | undefined {
  return sessionStorage.getItem(STORAGE_KEY) ?? undefined
}

export function storeKey(key: string): void {
  sessionStorage.setItem(STORAGE_KEY, key)
}

/** Stores the key and calls `onKey` when a link with a key is opened in a tab that shows the page already. */
export function watchAddressForKey(onKey: () => void): void {
  addEventListener('hashchange', () => {
    if (readFragment(location.hash).key === undefined) return
    takeKeyFromAddress()
    onKey()
  })
}
