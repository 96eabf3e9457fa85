/**
 * Asks for an API key, then opens GraphiQL. The key and edited tabs stay in the session storage of this browser tab.
 * The key is sent only in a header, never in a URL. A new browser tab starts with the examples.
 */

/**
 * @typedef {object} Settings Written into the page by the gateway.
 * @property {string} endpoint
 * @property {readonly string[]} examples One operation for each tab.
 * @property {Readonly<Record<string, string>>} workers URLs of the editor's workers, by their Monaco labels.
 */

/** @typedef {{ YogaGraphiQL: { renderYogaGraphiQL(root: Element, options: object): void } }} GraphiQLBundle */

const KEY = 'gaugeql:key'
const UNKNOWN_KEY =
  'This key does not exist or was revoked. The gateway printed a key when it first started; npm run keys creates another.'

/** @type {Settings} */
const settings = JSON.parse(element('settings').textContent ?? '')
const form = /** @type {HTMLFormElement} */ (element('key-form'))
const input = /** @type {HTMLInputElement} */ (element('key'))
const hint = element('key-hint')

const key = sessionStorage.getItem(KEY)
form.addEventListener('submit', (event) => {
  event.preventDefault()
  void useKey(input.value.trim())
})
document.addEventListener('click', ({ target }) => {
  if (target instanceof Element && target.closest('#change-key') !== null) askForKey('')
})

if (key === null) askForKey('')
else openGraphiQL(key)

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

/** @param {string} problem Why the last key failed; empty at first. */
function askForKey(problem) {
  hint.textContent = problem
  form.hidden = false
  input.setAttribute('aria-invalid', String(problem !== ''))
  input.focus()
  input.select()
}

/**
 * Stores a valid key and opens GraphiQL. Shows the problem of an invalid one.
 * @param {string} entered
 */
async function useKey(entered) {
  // A header can only carry visible ASCII.
  if (!/^[\x21-\x7e]+$/.test(entered)) return askForKey('A key has only letters, digits and punctuation.')
  const { problem } = await tryKey(entered)
  if (problem !== undefined) return askForKey(problem)
  sessionStorage.setItem(KEY, entered)
  // An open GraphiQL is reloaded with the new key; its tabs stay.
  if (key === null) openGraphiQL(entered)
  else location.reload()
}

/**
 * @param {string} entered
 * @returns {Promise<{ problem?: string }>}
 */
async function tryKey(entered) {
  try {
    const { ok, status } = await fetch(settings.endpoint, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${entered}` },
      body: JSON.stringify({ query: '{ __typename }' }),
    })
    if (ok) return {}
    if (status === 401) return { problem: UNKNOWN_KEY }
    return { problem: `The gateway responded with status ${status}; try again.` }
  } catch {
    return { problem: 'The gateway does not respond.' }
  }
}

/** @param {string} usedKey */
function openGraphiQL(usedKey) {
  form.hidden = true
  const { fetch: send } = globalThis
  // GraphiQL reads the global `fetch` for each request.
  globalThis.fetch = async (...request) => {
    const response = await send(...request)
    if (response.status === 401) askForKey(UNKNOWN_KEY)
    return response
  }
  Object.assign(globalThis, {
    MonacoEnvironment: {
      getWorkerUrl: (/** @type {string} */ _module, /** @type {string} */ label) => settings.workers[label],
    },
  })
  const { YogaGraphiQL } = /** @type {GraphiQLBundle} */ (/** @type {unknown} */ (globalThis))
  YogaGraphiQL.renderYogaGraphiQL(element('graphiql'), {
    endpoint: settings.endpoint,
    additionalHeaders: { authorization: `Bearer ${usedKey}` },
    // Also for live queries: a URL is limited in length and appears in logs.
    method: 'POST',
    storage: sessionStorage,
    shouldPersistHeaders: false,
    showPersistHeadersSettings: false,
    defaultEditorToolsVisibility: false,
    defaultTabs: settings.examples.map((query) => ({ query })),
    // The default writes each edit to the URL.
    onEditQuery: () => {},
    title: 'GaugeQL <button id="change-key" type="button" title="Use another API key">key</button>',
    logo: element('logo').innerHTML,
  })
}
