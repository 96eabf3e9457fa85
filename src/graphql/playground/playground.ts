import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import { readTabs } from './tabs.ts'

/**
 * GraphiQL that works offline: a small page and its files, some 9 MB, loaded and compressed on first use. The name of a
 * file has the hash of its content, so browsers cache files without limit and revalidate only the page.
 */
interface Playground {
  readonly page: PlaygroundFile
  /** By name, such as `graphiql.4f2a….js`. */
  readonly files: ReadonlyMap<string, PlaygroundFile>
}

export interface PlaygroundFile {
  readonly type: string
  readonly hash: string
  /** Returns the content in the best encoding that the client accepts. */
  read(acceptEncoding: string | undefined): Promise<Encoded>
}

interface Encoded {
  readonly encoding: 'br' | 'gzip' | undefined
  readonly body: Buffer
}

/** Resolves to the same folder from `src` and from `dist`. */
const PLAYGROUND = new URL('../../../playground/', import.meta.url)

const SCRIPT = 'text/javascript; charset=utf-8'
const STYLE = 'text/css; charset=utf-8'
const IMAGE = 'image/svg+xml'
const PAGE = 'text/html; charset=utf-8'

/** `folder` is the path below which the files are served. */
export function createPlayground(endpoint: string, folder: string): () => Promise<Playground> {
  return lazy(async () => {
    // Imported on first use: a gateway without browser visits does not need it in memory.
    const bundle = await import('@graphql-yoga/render-graphiql/graphiql')
    const readOwn = (name: string): Promise<Buffer> => readFile(new URL(name, PLAYGROUND))
    const files = new Map<string, PlaygroundFile>()
    const add = (name: string, type: string, content: string | Buffer): string => {
      const file = createFile(type, Buffer.from(content))
      const dot = name.lastIndexOf('.')
      const hashedName = `${name.slice(0, dot)}.${file.hash}${name.slice(dot)}`
      files.set(hashedName, file)
      return `${folder}/${hashedName}`
    }
    const logo = await readOwn('logo.svg')
    const html = pageOf({
      settings: {
        endpoint,
        examples: await readTabs(),
        workers: {
          editorWorkerService: add('editor-worker.js', SCRIPT, bundle.editorWorkerService),
          json: add('json-worker.js', SCRIPT, bundle.jsonWorker),
          graphql: add('graphql-worker.js', SCRIPT, bundle.graphqlWorker),
        },
      },
      logo: logo.toString(),
      icon: add('logo.svg', IMAGE, logo),
      styles: [add('graphiql.css', STYLE, bundle.css), add('playground.css', STYLE, await readOwn('playground.css'))],
      scripts: [add('graphiql.js', SCRIPT, bundle.js), add('playground.js', SCRIPT, await readOwn('playground.js'))],
    })
    return { page: createFile(PAGE, Buffer.from(html)), files }
  })
}

interface PageContent {
  readonly settings: object
  readonly logo: string
  readonly icon: string
  readonly styles: readonly string[]
  readonly scripts: readonly string[]
}

function pageOf({ settings, logo, icon, styles, scripts }: PageContent): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>GaugeQL</title>
    <link rel="icon" href="${icon}">
    ${styles.map((address) => `<link rel="stylesheet" href="${address}">`).join('\n    ')}
    ${scripts.map((address) => `<script defer src="${address}"></script>`).join('\n    ')}
    <script id="settings" type="application/json">${JSON.stringify(settings).replaceAll('<', '\\u003c')}</script>
  </head>
  <body>
    <div id="graphiql"></div>
    <form id="key-form" hidden>
      <div>
        <h1><span id="logo">${logo}</span>GaugeQL</h1>
        <div class="row">
          <input id="key" type="password" aria-label="API key" placeholder="API key" autocomplete="off" required>
          <button>Open</button>
        </div>
        <p id="key-hint" role="alert"></p>
        <p>The gateway printed a key when it first started. The key stays in this browser tab.</p>
      </div>
    </form>
    <noscript>GraphiQL needs JavaScript.</noscript>
  </body>
</html>
`
}

function createFile(type: string, content: Buffer): PlaygroundFile {
  const gzipped = lazy(() => promisify(gzip)(content, { level: 6 }))
  const params = { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_SIZE_HINT]: content.length }
  const brotli = lazy(() => promisify(brotliCompress)(content, { params }))
  return {
    type,
    hash: createHash('sha256').update(content).digest('base64url').slice(0, 22),
    async read(acceptEncoding) {
      if (accepts(acceptEncoding, 'br')) return { encoding: 'br', body: await brotli() }
      if (accepts(acceptEncoding, 'gzip')) return { encoding: 'gzip', body: await gzipped() }
      return { encoding: undefined, body: content }
    },
  }
}

/** Calls `load` on first use. After a failure the next use retries. */
function lazy<T>(load: () => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | undefined
  return () => {
    loaded ??= load().catch((error: unknown) => {
      loaded = undefined
      throw error
    })
    return loaded
  }
}

function accepts(acceptEncoding: string | undefined, encoding: string): boolean {
  return (acceptEncoding ?? '').split(',').some((entry) => {
    const [name, ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
    return name === encoding && !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))
  })
}
