import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'

/** The page in the form one client takes. */
export interface GraphiQLPage {
  readonly encoding: 'br' | 'gzip' | undefined
  readonly etag: string
  readonly body: Buffer
}

/** The same place from `src` and from `dist`. */
const EXAMPLES = new URL('../../schema/examples/', import.meta.url)

/** The order of the playground's tabs. */
const TABS = ['track', 'track-batch', 'chart', 'groups', 'events']

/**
 * GraphiQL whole, nothing of it from elsewhere: some 9 MB, a quarter compressed. It is made when first asked for and
 * kept compressed only; what takes neither encoding is rare and gets it made anew.
 */
export function createGraphiQLPage(endpoint: string): (acceptEncoding: string | undefined) => Promise<GraphiQLPage> {
  const once = <T>(make: () => Promise<T>): (() => Promise<T>) => {
    let made: Promise<T> | undefined
    return () => {
      made ??= make().catch((error: unknown) => {
        made = undefined
        throw error
      })
      return made
    }
  }
  const gzipped = once(async () => page('gzip', await promisify(gzip)(await render(endpoint), { level: 6 })))
  const brotli = once(async () => {
    const html = await render(endpoint)
    const params = { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_SIZE_HINT]: html.length }
    return page('br', await promisify(brotliCompress)(html, { params }))
  })
  return async (acceptEncoding) => {
    if (accepts(acceptEncoding, 'br')) return brotli()
    if (accepts(acceptEncoding, 'gzip')) return gzipped()
    return page(undefined, await render(endpoint))
  }
}

async function render(endpoint: string): Promise<Buffer> {
  // Loaded here: a gateway that no browser visits need not hold it.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql')
  const headers = JSON.stringify({ Authorization: 'Bearer YOUR_API_KEY' }, undefined, 2)
  const examples = await readExamples()
  const html = renderGraphiQL({
    title: 'GaugeQL',
    endpoint,
    headers,
    shouldPersistHeaders: true,
    defaultTabs: examples.map((query) => ({ query, headers })),
  })
  return Buffer.from(html)
}

/** The operations of `schema/examples`. */
export async function readExamples(): Promise<readonly string[]> {
  const names = (await readdir(EXAMPLES)).filter((name) => name.endsWith('.graphql'))
  const rank = (name: string): number =>
    (TABS.indexOf(name.slice(0, -'.graphql'.length)) + TABS.length + 1) % (TABS.length + 1)
  names.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
  return Promise.all(names.map((name) => readFile(new URL(name, EXAMPLES), 'utf8')))
}

function page(encoding: GraphiQLPage['encoding'], body: Buffer): GraphiQLPage {
  return { encoding, body, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"` }
}

function accepts(acceptEncoding: string | undefined, encoding: string): boolean {
  return (acceptEncoding ?? '').split(',').some((entry) => {
    const [name, ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
    return name === encoding && !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))
  })
}
