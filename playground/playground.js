/**
 * Opens GraphiQL once there is an API key. The key lives in this browser tab alone (session storage) and travels in a header, never
 * in an address; so do edited tabs, and a new browser tab begins with the examples.
 */

/**
 * @typedef {object} Settings Written into the page by the gateway.
 * @property {string} endpoint
 * @property {readonly string[]} examples One operation for each tab.
 * @property {Readonly<Record<string, string>>} workers Addresses of the editor's workers by what Monaco calls them.
 */

/** @typedef {{ YogaGraphiQL: { renderYogaGraphiQL(root: Element, options: object): void } }} GraphiQLBundle */

const KEY = 'gaugeql:key'
const UNKNOWN_KEY =
  'The gateway does not know this key, or no longer. It printed one when it first started; npm run keys makes another.'

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

/** @param {string} problem Empty: nothing was wrong yet. */
function askForKey(problem) {
  hint.textContent = problem
  form.hidden = false
  input.setAttribute('aria-invalid', String(problem !== ''))
  input.focus()
  input.select()
}

/**
 * Keeps a key that the gateway knows, and says what is wrong with another.
 * @param {string} entered
 */
async function useKey(entered) {
  // What a header cannot carry is no key.
  if (!/^[\x21-\x7e]+$/.test(entered)) return askForKey('A key is one word of letters, digits and signs.')
  const { problem } = await tryKey(entered)
  if (problem !== undefined) return askForKey(problem)
  sessionStorage.setItem(KEY, entered)
  // A page that was open begins anew with it; its tabs are kept.
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
    return { problem: `The gateway answered with status ${status}; try again.` }
  } catch {
    return { problem: 'The gateway does not answer.' }
  }
}

/** @param {string} usedKey */
function openGraphiQL(usedKey) {
  form.hidden = true
  const { fetch: send } = globalThis
  // GraphiQL looks `fetch` up with each request.
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
    // A live query is asked with a POST as well: no limit to its length, and nothing of it in logs.
    method: 'POST',
    storage: sessionStorage,
    shouldPersistHeaders: false,
    showPersistHeadersSettings: false,
    defaultEditorToolsVisibility: false,
    defaultTabs: settings.examples.map((query) => ({ query })),
    // By default each edit would be written into the address.
    onEditQuery: () => {},
    title: 'GaugeQL <button id="change-key" type="button" title="Use another API key">key</button>',
    logo: element('logo').innerHTML,
  })
}
