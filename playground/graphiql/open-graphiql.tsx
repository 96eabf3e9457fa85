import { render } from 'preact'
import { ChartPane } from './chart-pane.tsx'
import { createFetcher } from './fetcher.ts'
import { isReadOnly } from './is-read-only.ts'
import { elementById, loadScript, readSettings, waitForElement } from './page.ts'
import { TabResults } from './tab-results.ts'

export interface OpenGraphiQLOptions {
  readonly key: string
  /** An operation to open in an additional tab. */
  readonly query: string | undefined
  readonly onUnknownKey: () => void
}

interface GraphiQLBundle {
  readonly YogaGraphiQL: { renderYogaGraphiQL(root: Element, options: object): void }
}

/** The key under which GraphiQL stores its tabs in the session storage. */
const TABS_STORAGE_KEY = 'graphiql:tabState'

/**
 * Loads and renders GraphiQL with the chart pane. Then runs the open tab's operation: in a new browser tab without a
 * link, or if the operation of a link is read-only.
 */
export async function openGraphiQL({ key, query, onUnknownKey }: OpenGraphiQLOptions): Promise<void> {
  const { examples, script, workers } = readSettings()
  const isNewBrowserTab = sessionStorage.getItem(TABS_STORAGE_KEY) === null
  Object.assign(globalThis, {
    MonacoEnvironment: { getWorkerUrl: (_module: string, label: string) => workers[label] },
  })
  await Promise.all([loadScript(script), loadFonts()])
  const { YogaGraphiQL } = globalThis as unknown as GraphiQLBundle
  const results = new TabResults()
  const operations = query === undefined ? examples : [query, ...examples]
  YogaGraphiQL.renderYogaGraphiQL(elementById('graphiql'), {
    fetcher: createFetcher({ key, results, onUnknownKey }),
    storage: sessionStorage,
    shouldPersistHeaders: false,
    showPersistHeadersSettings: false,
    defaultEditorToolsVisibility: false,
    defaultTabs: operations.map((operation) => ({ query: operation })),
    ...(query !== undefined && !isNewBrowserTab && { query }),
    // Without this, each edit would be written to the URL.
    onEditQuery: () => {},
    title: TITLE,
    logo: elementById('logo').innerHTML,
  })
  const host = document.createElement('div')
  host.className = 'chart-pane-host'
  const response = await waitForElement('.graphiql-response')
  response.append(host)
  render(<ChartPane results={results} />, host)
  if (query === undefined ? isNewBrowserTab : isReadOnly(query)) await runOpenTab()
}

/**
 * Loads all fonts before GraphiQL renders, because it measures its tabs only then. A font that loads later would change
 * their width, and a tab would move while it is clicked.
 */
async function loadFonts(): Promise<void> {
  await Promise.allSettled([...document.fonts].map((font) => font.load()))
}

const TITLE = `GaugeQL
  <a class="title-link" href="/explore">Explore</a>
  <button id="change-key" class="title-link" type="button" title="Use another API key">Key</button>`

/** Clicks the run button of the open tab, so that the page opens with a result. */
async function runOpenTab(): Promise<void> {
  const button = await waitForElement('.graphiql-execute-button')
  await waitForElement('.graphiql-query-editor .view-line')
  button.click()
}
