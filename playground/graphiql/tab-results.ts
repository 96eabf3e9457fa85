import { applyResultUpdate } from '../chart/live-result.ts'

/**
 * The data of the last result of each GraphiQL tab, for the chart below the response. A tab is identified by its DOM
 * element.
 */
export class TabResults {
  readonly #byTab = new WeakMap<Element, unknown>()
  readonly #listeners = new Set<() => void>()

  /** Returns the data of the open tab's last result; undefined before the first one. */
  dataOfOpenTab(): unknown {
    const tab = openTab()
    return tab === null ? undefined : this.#byTab.get(tab)
  }

  /** Stores the data of a result. Updates of a live query are applied to the previous data. */
  addResult(tab: Element | null, data: unknown): void {
    if (tab === null) return
    this.#byTab.set(tab, applyResultUpdate(this.#byTab.get(tab), data))
    this.#notify()
  }

  /** Calls `listener` after each result, and when another tab is opened. Returns a function that unsubscribes. */
  subscribe(listener: () => void): () => void {
    const observer = new MutationObserver(() => this.#notify())
    const tabs = document.querySelector('.graphiql-tabs')
    if (tabs !== null) observer.observe(tabs, { subtree: true, childList: true, attributeFilter: ['aria-selected'] })
    this.#listeners.add(listener)
    return () => {
      observer.disconnect()
      this.#listeners.delete(listener)
    }
  }

  #notify(): void {
    for (const listener of this.#listeners) listener()
  }
}

export function openTab(): Element | null {
  return document.querySelector('.graphiql-tab-active')
}
