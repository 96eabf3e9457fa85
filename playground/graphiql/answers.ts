import { applyAnswer } from '../chart/live-answer.ts'

/**
 * The last answer of each tab of GraphiQL, for the chart beside it. A tab is known by its element, which exists as long
 * as the tab does.
 */
export class TabAnswers {
  readonly #byTab = new WeakMap<Element, unknown>()
  readonly #listeners = new Set<() => void>()

  /** Of the open tab; undefined before its first answer. */
  current(): unknown {
    const tab = openTab()
    return tab === null ? undefined : this.#byTab.get(tab)
  }

  /** Takes an answer of this tab. Updates of a live query are applied to the one before. */
  add(tab: Element | null, data: unknown): void {
    if (tab === null) return
    this.#byTab.set(tab, applyAnswer(this.#byTab.get(tab), data))
    this.#notify()
  }

  /** `listener` runs after each answer, and when another tab is opened. */
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
