import type { PageAssets } from '../../http/pages/page-assets.ts'
import { createStaticFile, lazy, PAGE, SCRIPT, STYLE, type StaticFile } from '../../http/pages/static-file.ts'
import { readTabs } from './tabs.ts'

/**
 * GraphiQL that works offline: a small page, the modules of `playground/graphiql` and the files of the package, some
 * 9 MB, loaded and compressed on first use. The name of a file has the hash of its content, so browsers cache files
 * without limit and revalidate only the page.
 */
interface Playground {
  readonly page: StaticFile
  /** By name, such as `graphiql.4f2a….js`. */
  readonly files: ReadonlyMap<string, StaticFile>
}

/** `folder` is the path below which the files are served. */
export function createPlayground(
  endpoint: string,
  folder: string,
  readAssets: () => Promise<PageAssets>,
): () => Promise<Playground> {
  return lazy(async () => {
    // Imported on first use: a gateway without browser visits does not need it in memory.
    const bundle = await import('@graphql-yoga/render-graphiql/graphiql')
    const assets = await readAssets()
    const files = new Map<string, StaticFile>()
    const add = (name: string, type: string, content: string): string => {
      const file = createStaticFile(type, content)
      const dot = name.lastIndexOf('.')
      const hashedName = `${name.slice(0, dot)}.${file.hash}${name.slice(dot)}`
      files.set(hashedName, file)
      return `${folder}/${hashedName}`
    }
    const script = add('graphiql.js', SCRIPT, bundle.js)
    const html = pageOf({
      settings: {
        endpoint,
        examples: await readTabs(),
        script,
        workers: {
          editorWorkerService: add('editor-worker.js', SCRIPT, bundle.editorWorkerService),
          json: add('json-worker.js', SCRIPT, bundle.jsonWorker),
          graphql: add('graphql-worker.js', SCRIPT, bundle.graphqlWorker),
        },
      },
      script,
      logo: assets.textOf('styles/logo.svg'),
      icon: assets.addressOf('styles/logo.svg'),
      styles: [
        add('graphiql.css', STYLE, bundle.css),
        ...['styles/page.css', 'vendor/uplot.css', 'styles/chart.css', 'styles/graphiql.css'].map(assets.addressOf),
      ],
      modules: assets.modulesOf('graphiql/main.js'),
    })
    return { page: createStaticFile(PAGE, html), files }
  })
}

interface PageContent {
  readonly settings: object
  readonly script: string
  readonly logo: string
  readonly icon: string
  readonly styles: readonly string[]
  /** The first one starts the page. */
  readonly modules: readonly string[]
}

function pageOf({ settings, script, logo, icon, styles, modules: [main, ...imported] }: PageContent): string {
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
