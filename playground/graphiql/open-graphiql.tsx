import { render } from 'preact'
import { TabAnswers } from './answers.ts'
import { ChartPane } from './chart-pane.tsx'
import { createFetcher } from './fetcher.ts'
import { isReadOnly } from './is-read-only.ts'
import { drawn, element, loadScript, readSettings } from './page.ts'

export interface OpenOptions {
  readonly key: string
  /** An operation for a tab of its own. */
  readonly query: string | undefined
  readonly onUnknownKey: () => void
}

interface GraphiQLBundle {
  readonly YogaGraphiQL: { renderYogaGraphiQL(root: Element, options: object): void }
}

/** Where GraphiQL stores its tabs. */
const TABS_STORED = 'graphiql:tabState'

/** Loads GraphiQL and draws it, with the chart below its answers. Runs the first operation of a new browser tab. */
export async function openGraphiQL({ key, query, onUnknownKey }: OpenOptions): Promise<void> {
  const { examples, script, workers } = readSettings()
  const isNew = sessionStorage.getItem(TABS_STORED) === null
  Object.assign(globalThis, {
    MonacoEnvironment: { getWorkerUrl: (_module: string, label: string) => workers[label] },
  })
  await Promise.all([loadScript(script), loadFonts()])
  const { YogaGraphiQL } = globalThis as unknown as GraphiQLBundle
  const answers = new TabAnswers()
  const operations = query === undefined ? examples : [query, ...examples]
  YogaGraphiQL.renderYogaGraphiQL(element('graphiql'), {
    fetcher: createFetcher({ key, answers, onUnknownKey }),
    storage: sessionStorage,
    shouldPersistHeaders: false,
    showPersistHeadersSettings: false,
    defaultEditorToolsVisibility: false,
    defaultTabs: operations.map((operation) => ({ query: operation })),
    ...(query !== undefined && !isNew && { query }),
    // The default writes each edit to the URL.
    onEditQuery: () => {},
    title: TITLE,
    logo: element('logo').innerHTML,
  })
  const host = document.createElement('div')
  host.className = 'chart-pane-host'
  const response = await drawn('.graphiql-response')
  response.append(host)
  render(<ChartPane answers={answers} />, host)
  if (query === undefined ? isNew : isReadOnly(query)) await runOpenTab()
}

/**
 * GraphiQL measures its tabs once, when it draws them. A font that arrives later makes them wider, and a tab that was not
 * measured again jumps away under a pressed mouse button, so that the click misses it.
 */
async function loadFonts(): Promise<void> {
  await Promise.allSettled([...document.fonts].map((font) => font.load()))
}

const TITLE = `GaugeQL
  <a class="title-link" href="/explore">Explore</a>
  <button id="change-key" class="title-link" type="button" title="Use another API key">Key</button>`

/** A page that opens with an answer says more than one that opens with a text. */
async function runOpenTab(): Promise<void> {
  const button = await drawn('.graphiql-execute-button')
  await drawn('.graphiql-query-editor .view-line')
  button.click()
}
