/** What the gateway writes into the page of GraphiQL. */
export interface PageSettings {
  readonly endpoint: string
  /** One operation for each tab. */
  readonly examples: readonly string[]
  /** The script of GraphiQL, loaded once there is a key. */
  readonly script: string
  /** URLs of the editor's workers, by their Monaco labels. */
  readonly workers: Readonly<Record<string, string>>
}

export function readSettings(): PageSettings {
  return JSON.parse(element('settings').textContent ?? '')
}

export function element(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

/** Resolves when GraphiQL has drawn this. */
export function drawn(selector: string): Promise<HTMLElement> {
  return new Promise((resolve) => {
    const look = (): void => {
      const found = document.querySelector<HTMLElement>(selector)
      if (found === null) return
      observer.disconnect()
      resolve(found)
    }
    const observer = new MutationObserver(look)
    observer.observe(document.body, { childList: true, subtree: true })
    look()
  })
}

export function loadScript(address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const script = document.createElement('script')
    script.src = address
    script.addEventListener('load', () => resolve())
    script.addEventListener('error', () => reject(new Error(`${address} cannot be loaded`)))
    document.head.append(script)
  })
}
