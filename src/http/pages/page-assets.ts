import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { extname } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  createStaticFile,
  hashOf,
  loadOnce,
  SCRIPT_TYPE,
  STYLE_TYPE,
  type StaticFile,
  SVG_TYPE,
} from './static-file.ts'

/**
 * The modules, styles and pictures of the pages, as `npm run build` has compiled them from `playground/`, and the
 * packages that they import. They are read on first use. All are served below one path with a hash of all contents, so
 * modules can import each other by relative paths, and browsers can cache them for a year.
 */
export interface PageAssets {
  /** The hash of all files. URLs have the form `/pages/HASH/FOLDER/NAME`. */
  readonly contentHash: string
  /** The files by folder and name, such as `explore/main.js`. */
  readonly files: ReadonlyMap<string, StaticFile>
  /** Returns the text of a file, for a page that contains the file inline. Throws if the file is missing. */
  textOf(path: string): string
  urlOf(path: string): string
  /** The URLs of a module and of all modules that it imports, directly or not. The module itself is first. */
  moduleUrlsOf(path: string): readonly string[]
}

export const ASSETS_PATH = '/pages'

/** Resolves to the same folder from `src` and from `dist`. */
const COMPILED_FOLDER = new URL('../../../dist/playground/', import.meta.url)

/** The paths at which modules of packages are served, by the names under which our modules import them. */
const PACKAGE_PATHS: Readonly<Record<string, string>> = {
  preact: 'vendor/preact.js',
  'preact/hooks': 'vendor/preact-hooks.js',
  'preact/jsx-runtime': 'vendor/preact-jsx-runtime.js',
  uplot: 'vendor/uplot.js',
}

/**
 * The files of packages that are served although no import name resolves to them. A key is an import name from
 * `PACKAGE_PATHS`, for which this file is served instead, or the path at which the file is served.
 */
const PACKAGE_FILES: Readonly<Record<string, string>> = {
  uplot: 'uplot/dist/uPlot.esm.js',
  'vendor/uplot.css': 'uplot/dist/uPlot.min.css',
}

const CONTENT_TYPES: Readonly<Record<string, string>> = { '.js': SCRIPT_TYPE, '.css': STYLE_TYPE, '.svg': SVG_TYPE }

/**
 * Matches a static import, or an export from another module. Group 1 is the keyword, group 2 the quote, and group 3 the
 * specifier of the module.
 */
const IMPORT_STATEMENT = /(\bfrom ?|\bimport ?)(["'])([^"'\s]+)\2/g

export function createPageAssets(): () => Promise<PageAssets> {
  return loadOnce(async () => {
    const contents = new Map([...(await readCompiledFiles()), ...(await readPackageFiles())])
    const contentHash = hashOf([...contents].flat())
    const urlOf = (path: string): string => `${ASSETS_PATH}/${contentHash}/${path}`
    for (const [path, content] of contents) {
      if (path.endsWith('.js')) contents.set(path, replacePackageImports(content, urlOf))
    }
    const files = new Map(
      [...contents].map(([path, content]) => [path, createStaticFile(CONTENT_TYPES[extname(path)]!, content)]),
    )
    const textOf = (path: string): string => {
      const text = contents.get(path)
      if (text === undefined) throw new Error(`playground/${path} is missing; run npm run build`)
      return text
    }
    return {
      contentHash,
      files,
      textOf,
      urlOf,
      moduleUrlsOf: (path) => [...withImportedModules(urlOf(path), (url) => textOf(pathOf(url)))],
    }
  })
}

/** Returns the path and the content of each module, style and picture that the build has written. */
async function readCompiledFiles(): Promise<[string, string][]> {
  const names = await readdir(COMPILED_FOLDER, { recursive: true }).catch((cause: unknown) => {
    throw new Error('the pages are not compiled; run npm run build', { cause })
  })
  const paths = names.map((name) => name.replaceAll('\\', '/')).filter((name) => extname(name) in CONTENT_TYPES)
  return Promise.all(
    paths
      .sort()
      .map(async (path): Promise<[string, string]> => [path, await readFile(new URL(path, COMPILED_FOLDER), 'utf8')]),
  )
}

/** Returns the path and the content of each file that comes from a package. It is served at this path. */
async function readPackageFiles(): Promise<[string, string][]> {
  const { resolve } = createRequire(import.meta.url)
  const sources = [
    ...Object.entries(PACKAGE_PATHS).map(([name, path]) => [path, PACKAGE_FILES[name] ?? name] as const),
    ...Object.entries(PACKAGE_FILES).filter(([path]) => path.startsWith('vendor/')),
  ]
  return Promise.all(
    sources.map(async ([path, file]): Promise<[string, string]> => {
      const text = await readFile(pathToFileURL(resolve(file)), 'utf8')
      return [path, text.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')]
    }),
  )
}

/** Replaces package names in imports by URLs of this gateway, because browsers cannot resolve package names. */
function replacePackageImports(module: string, urlOf: (path: string) => string): string {
  return module.replace(IMPORT_STATEMENT, (statement, keyword: string, quote: string, name: string) => {
    const path = PACKAGE_PATHS[name]
    return path === undefined ? statement : `${keyword}${quote}${urlOf(path)}${quote}`
  })
}

/** Returns the URLs of a module and of all modules that it imports, directly or not. */
function withImportedModules(entryUrl: string, textOf: (url: string) => string): ReadonlySet<string> {
  const urls = new Set([entryUrl])
  for (const url of urls) {
    for (const [, , , specifier] of textOf(url).matchAll(IMPORT_STATEMENT)) {
      if (specifier!.startsWith('.') || specifier!.startsWith('/')) {
        urls.add(new URL(specifier!, new URL(url, 'http://gateway')).pathname)
      }
    }
  }
  return urls
}

/** Returns the part of a URL after the hash: folder and name. */
function pathOf(url: string): string {
  return url.split('/').slice(3).join('/')
}
