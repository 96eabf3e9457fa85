import type { PageAssets } from '../../http/pages/page-assets.ts'
import {
  createStaticFile,
  HTML_TYPE,
  loadOnce,
  SCRIPT_TYPE,
  STYLE_TYPE,
  type StaticFile,
} from '../../http/pages/static-file.ts'
import { readTabOperations } from './tabs.ts'

/**
 * GraphiQL, served without access to the internet: a small page, the modules of `playground/graphiql`, and the files of
 * the GraphiQL package (9 MB), which are loaded and compressed on first use. URLs of files contain a hash of the
 * content, so browsers can cache files for a year and revalidate only the page.
 */
interface Playground {
  readonly page: StaticFile
  /** The files of the GraphiQL package by their names, such as `graphiql.4f2a….js`. */
  readonly files: ReadonlyMap<string, StaticFile>
}

/** Returns a function that loads the playground on first use. `folder` is the path below which its files are served. */
export function createPlaygroundLoader(
  endpoint: string,
  folder: string,
  readAssets: () => Promise<PageAssets>,
): () => Promise<Playground> {
  return loadOnce(async () => {
    // Imported on first use: a gateway without browser visits does not need it in memory.
    const bundle = await import('@graphql-yoga/render-graphiql/graphiql')
    const assets = await readAssets()
    const files = new Map<string, StaticFile>()
    const addFile = (name: string, type: string, content: string): string => {
      const file = createStaticFile(type, content)
      const dot = name.lastIndexOf('.')
      const hashedName = `${name.slice(0, dot)}.${file.hash}${name.slice(dot)}`
      files.set(hashedName, file)
      return `${folder}/${hashedName}`
    }
    const script = addFile('graphiql.js', SCRIPT_TYPE, bundle.js)
    const html = playgroundHtml({
      settings: {
        endpoint,
        examples: await readTabOperations(),
        script,
        workers: {
          editorWorkerService: addFile('editor-worker.js', SCRIPT_TYPE, bundle.editorWorkerService),
          json: addFile('json-worker.js', SCRIPT_TYPE, bundle.jsonWorker),
          graphql: addFile('graphql-worker.js', SCRIPT_TYPE, bundle.graphqlWorker),
        },
      },
      script,
      logo: assets.textOf('styles/logo.svg'),
      icon: assets.urlOf('styles/logo.svg'),
      styles: [
        addFile('graphiql.css', STYLE_TYPE, bundle.css),
        ...['styles/page.css', 'vendor/uplot.css', 'styles/chart.css', 'styles/graphiql.css'].map(assets.urlOf),
      ],
      modules: assets.moduleUrlsOf('graphiql/main.js'),
    })
    return { page: createStaticFile(HTML_TYPE, html), files }
  })
}

interface PageContent {
  /** Read by the modules, as JSON. */
  readonly settings: object
  /** Address of the script of the GraphiQL package. */
  readonly script: string
  /** The logo as SVG text. */
  readonly logo: string
  readonly icon: string
  /** Addresses of the style sheets. */
  readonly styles: readonly string[]
  /** Addresses of the JavaScript modules. The page runs the first module, which imports the others. */
  readonly modules: readonly string[]
}

function playgroundHtml({ settings, script, logo, icon, styles, modules: [main, ...imported] }: PageContent): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>GraphiQL · GaugeQL</title>
    <link rel="icon" href="${icon}">
    ${styles.map((address) => `<link rel="stylesheet" href="${address}">`).join('\n    ')}
    ${imported.map((address) => `<link rel="modulepreload" href="${address}">`).join('\n    ')}
    <link rel="preload" as="script" href="${script}">
    <script type="module" src="${main}"></script>
    <script id="settings" type="application/json">${JSON.stringify(settings).replaceAll('<', '\\u003c')}</script>
  </head>
  <body>
    <div id="graphiql"></div>
    <div id="key-root"></div>
    <template id="logo">${logo}</template>
    <noscript>GraphiQL needs JavaScript.</noscript>
  </body>
</html>
`
}
