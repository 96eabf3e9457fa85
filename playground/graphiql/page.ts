/** The settings that the gateway writes into GraphiQL's page as JSON. */
export interface PageSettings {
  readonly endpoint: string
  /** The operations of the initial tabs. */
  readonly examples: readonly string[]
  /** Address of GraphiQL's script. The page loads it after it has got a key. */
  readonly script: string
  /** URLs of the editor's workers, by their Monaco labels. */
  readonly workers: Readonly<Record<string, string>>
}

export function readSettings(): PageSettings {
  return JSON.parse(elementById('settings').textContent ?? '')
}

export function elementById(id: string): HTMLElement {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`the page has no #${id}`)
  return element
}

/** Resolves to the first element that matches, as soon as GraphiQL has rendered it. */
export function waitForElement(selector: string): Promise<HTMLElement> {
  return new Promise((resolve) => {
    const resolveIfFound = (): void => {
      const element = document.querySelector<HTMLElement>(selector)
      if (element === null) return
      observer.disconnect()
      resolve(element)
    }
    const observer = new MutationObserver(resolveIfFound)
    observer.observe(document.body, { childList: true, subtree: true })
    resolveIfFound()
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
