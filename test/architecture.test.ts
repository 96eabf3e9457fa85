import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/**
 * Which part may import which: model ← sketch ← rollup ← store.ts ← { write, query } ← gateway ← { http, graphql } ←
 * main.
 */

const SRC = fileURLToPath(new URL('../src', import.meta.url))

interface Part {
  /** A folder with its slash at the end, or a file, below `src/`. The longest one that fits a file is its part. */
  readonly path: string
  /** Parts it may import. */
  readonly imports: readonly string[]
  /** Parts of which it may import types alone, but for the values named. */
  readonly types?: Readonly<Record<string, readonly string[]>>
  /** Packages it may import; modules of Node are free unless `node` says otherwise. */
  readonly packages?: readonly string[]
  readonly node?: boolean
}

const AGGREGATIONS = ['AGGREGATIONS', 'aggregationsOf', 'parseAggregation', 'quantileAggregation']

/** The contract of a store: the page of its verbs, and the files of data types and times beside it. */
const CONTRACT = [
  'store.ts',
  'windows.ts',
  'catalog.ts',
  'bookkeeping-lifetimes.ts',
  'inbox-size.ts',
  'events.ts',
  'idempotency-keys.ts',
  'api-keys.ts',
].map((file) => `store/${file}`)
/** What both stores are built with and nobody else imports. */
const STORE_PARTS = [
  'commit-listeners.ts',
  'index-order.ts',
  'listing.ts',
  'store-shape.ts',
  'store-log.ts',
  'index-removals.ts',
].map((file) => `store/${file}`)

const PARTS: readonly Part[] = [
  { path: 'model/', imports: [], packages: ['lru-cache'] },
  { path: 'sketch/', imports: ['model/'], node: false },
  { path: 'rollup/', imports: ['model/', 'sketch/'] },
  { path: 'store/', imports: [], types: { 'model/': [] }, node: false },
  { path: 'store/store.ts', imports: CONTRACT, types: { 'model/': [] }, node: false },
  { path: 'store/bookkeeping-lifetimes.ts', imports: ['model/time.ts'], node: false },
  { path: 'store/idempotency-keys.ts', imports: ['model/time.ts'], node: false },
  { path: 'store/embedded/', imports: ['model/', 'sketch/', ...CONTRACT, ...STORE_PARTS], packages: ['lmdb'] },
  { path: 'store/redis/', imports: ['model/', 'sketch/', ...CONTRACT, ...STORE_PARTS], packages: ['ioredis'] },
  { path: 'wire/', imports: ['model/'], node: false },
  { path: 'write/round/', imports: ['model/', 'rollup/', ...CONTRACT] },
  { path: 'write/recover/', imports: ['model/', 'rollup/', ...CONTRACT, 'write/round/'] },
  {
    path: 'write/commit/',
    imports: ['model/', 'store/store.ts', 'store/inbox-size.ts', 'store/catalog.ts', 'write/round/', 'write/recover/'],
  },
  {
    path: 'write/fold/',
    imports: [
      'model/',
      'sketch/',
      'rollup/',
      'store/store.ts',
      'store/inbox-size.ts',
      'store/windows.ts',
      'store/catalog.ts',
    ],
  },
  { path: 'write/', imports: ['model/', ...CONTRACT, 'write/recover/'] },
  { path: 'query/aggregations.ts', imports: ['model/'], node: false },
  {
    path: 'query/plan/',
    imports: ['model/', 'store/store.ts', 'store/windows.ts', 'store/catalog.ts', 'query/aggregations.ts'],
    node: false,
  },
  {
    path: 'query/read/',
    imports: ['model/', 'rollup/', 'store/store.ts', 'store/windows.ts', 'store/catalog.ts', 'query/plan/'],
    node: false,
  },
  {
    path: 'query/compute/',
    imports: [
      'model/',
      'sketch/',
      'rollup/',
      'store/store.ts',
      'store/catalog.ts',
      'query/aggregations.ts',
      'query/plan/',
      'query/read/',
    ],
    node: false,
  },
  {
    path: 'query/live/',
    imports: ['model/', 'store/store.ts', 'store/catalog.ts', 'query/plan/', 'query/compute/'],
    node: false,
  },
  {
    path: 'query/',
    imports: ['model/', 'rollup/', ...CONTRACT, 'query/plan/', 'query/read/', 'query/compute/', 'query/live/'],
    node: false,
  },
  { path: 'access/', imports: ['model/', ...CONTRACT], packages: ['lru-cache'] },
  { path: 'telemetry/', imports: ['model/'], types: { 'query/': [] }, packages: ['prom-client'] },
  {
    path: 'gateway.ts',
    imports: ['model/', 'store/store.ts', 'store/catalog.ts', 'access/api-keys.ts'],
    types: { 'write/': [], 'query/': [], 'access/': [], 'telemetry/': [] },
    node: false,
  },
  { path: 'http/response/', imports: ['model/'], packages: ['fastify'] },
  {
    path: 'http/access/',
    imports: ['model/'],
    types: { 'gateway.ts': [], 'store/api-keys.ts': [] },
    packages: ['fastify'],
  },
  { path: 'http/body/', imports: ['model/', 'http/access/'], packages: ['fastify'] },
  {
    path: 'http/openapi/',
    imports: ['model/', 'http/response/', 'http/body/content-encoding.ts'],
    packages: ['fastify'],
  },
  {
    path: 'http/server/',
    imports: ['model/', 'http/response/', 'http/access/', 'http/body/', 'http/openapi/'],
    types: { 'gateway.ts': [], 'telemetry/': [] },
    packages: ['fastify'],
  },
  {
    path: 'http/flux/',
    imports: [
      'model/',
      'wire/',
      'http/response/',
      'http/access/',
      'http/body/',
      'http/openapi/',
      'http/server/idempotency.ts',
    ],
    types: { 'gateway.ts': [], 'query/': ['fillLine'], 'store/store.ts': [], 'store/catalog.ts': [] },
    packages: ['fastify'],
  },
  {
    path: 'http/better-stack/',
    imports: [
      'model/',
      'wire/',
      'http/response/',
      'http/access/',
      'http/body/',
      'http/openapi/',
      'http/server/idempotency.ts',
    ],
    types: { 'gateway.ts': [] },
    packages: ['fastify', 'pino'],
  },
  {
    path: 'http/prometheus/',
    imports: [
      'model/',
      'wire/',
      'http/response/',
      'http/access/',
      'http/body/',
      'http/openapi/',
      'http/server/idempotency.ts',
    ],
    types: { 'gateway.ts': [] },
    packages: ['fastify'],
  },
  {
    path: 'http/otlp/',
    imports: [
      'model/',
      'wire/',
      'http/response/',
      'http/access/',
      'http/body/',
      'http/openapi/',
      'http/server/idempotency.ts',
    ],
    types: { 'gateway.ts': [] },
    packages: ['fastify'],
  },
  {
    path: 'http/pages/',
    imports: ['model/', 'http/response/', 'http/openapi/'],
    packages: ['fastify'],
  },
  {
    path: 'http/create-server.ts',
    imports: ['model/', 'http/'],
    types: { 'gateway.ts': [], 'telemetry/': [] },
    packages: ['fastify', 'pino'],
  },
  {
    path: 'graphql/',
    imports: ['model/', 'wire/', 'http/response/', 'http/access/', 'http/openapi/', 'http/pages/'],
    types: {
      'gateway.ts': [],
      'query/': ['fillComparison', 'fillLine', ...AGGREGATIONS, 'FILLS', 'encodeCursor', 'EVENTS_PAGE_DEFAULT'],
      'store/store.ts': [],
      'store/catalog.ts': [],
      'store/api-keys.ts': ['SCOPES'],
    },
    packages: ['@graphql-yoga/render-graphiql', '@pothos/core', '@pothos/plugin-relay', 'fastify', 'graphql', 'pino'],
  },
  { path: 'graphql/documents/', imports: ['model/', 'graphql/operation-cost.ts'], packages: ['graphql', 'lru-cache'] },
  {
    path: 'graphql/server/',
    imports: ['model/', 'wire/', 'http/response/', 'http/access/', 'http/openapi/', 'http/pages/', 'graphql/'],
    types: { 'gateway.ts': [] },
    packages: ['fastify', 'graphql'],
  },
  {
    path: 'graphql/server/yoga.ts',
    imports: ['model/json.ts'],
    types: { 'graphql/context.ts': [] },
    packages: ['graphql', 'graphql-yoga', 'lru-cache'],
    node: false,
  },
  { path: 'config/', imports: ['model/', ...CONTRACT, 'access/api-keys.ts'], types: { 'write/': [] } },
  {
    path: 'process/',
    imports: [
      'model/',
      'store/',
      'write/',
      'query/',
      'gateway.ts',
      'access/',
      'telemetry/',
      'config/',
      'http/',
      'graphql/',
    ],
    packages: ['fastify', 'pino'],
  },
  { path: 'main.ts', imports: ['access/', 'config/', 'process/', 'telemetry/'], packages: ['pino'] },
]

/** What a file may not hold, outside of comments and texts. */
const RULES: readonly { readonly name: string; readonly pattern: RegExp; readonly except?: readonly string[] }[] = [
  {
    name: 'reads the environment',
    pattern: /\bprocess\s*\.\s*env\b|\bprocess\s*\[/,
    except: ['main.ts', 'process/production.ts'],
  },
  { name: 'ends the process', pattern: /\bprocess\s*\.\s*exit\b/, except: ['main.ts'] },
  { name: 'has a default export', pattern: /\bexport\s+default\b|\bas\s+default\b/ },
  { name: 'has the type any', pattern: /(?:[:<,|&([=]|\bas|\bextends)\s*any\b(?!\s*[:(])/ },
  { name: 'exports all of another file', pattern: /\bexport\s*\*/ },
  { name: 'silences the compiler', pattern: /@ts-(?:ignore|expect-error|nocheck)/ },
]

interface Import {
  /** Below `src/` for files of ours, `package` or `node:module` for others. */
  readonly target: string
  readonly ours: boolean
  /** Names that are more than types; `*` for a namespace or a whole module. */
  readonly values: readonly string[]
}

interface Source {
  readonly path: string
  readonly text: string
  readonly imports: readonly Import[]
}

const STATEMENT = /^(?:import|export)\s+(type\s+)?(?:([\w$*{][^'"]*?)\s+from\s+)?['"]([^'"]+)['"]/gm
const DYNAMIC = /\bimport\s*\(\s*['"]([^'"]+)['"]\s*\)/g

function importsOf(path: string, text: string): Import[] {
  const found: Import[] = []
  const add = (specifier: string, values: readonly string[]): void => {
    const ours = specifier.startsWith('.')
    const target = ours ? relative(SRC, join(SRC, dirname(path), specifier)) : packageOf(specifier)
    found.push({ target, ours, values })
  }
  for (const [, type, clause, specifier] of text.matchAll(STATEMENT))
    add(specifier!, type === undefined ? valuesOf(clause) : [])
  for (const [, specifier] of text.matchAll(DYNAMIC)) add(specifier!, ['*'])
  return found
}

function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  const parts = specifier.split('/')
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
}

function valuesOf(clause: string | undefined): string[] {
  if (clause === undefined || clause.startsWith('*')) return ['*']
  const names = /\{([^}]*)\}/.exec(clause)?.[1] ?? ''
  const named = names
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && !name.startsWith('type '))
    .map((name) => name.split(/\s+as\s+/)[0]!)
  return clause.startsWith('{') ? named : ['default', ...named]
}

/** Comments and the insides of texts replaced by nothing, so that they break no rule. */
function codeOf(text: string): string {
  return text.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g,
    (found) => (found.startsWith('/') && found.includes('@ts-') ? found : "''"),
  )
}

const sources: readonly Source[] = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .sort()
  .map((path) => {
    const text = readFileSync(join(SRC, path), 'utf8')
    return { path, text, imports: importsOf(path, text) }
  })

function partOf(path: string): Part | undefined {
  return PARTS.filter((part) => covers(part.path, path)).sort((a, b) => b.path.length - a.path.length)[0]
}

function covers(part: string, path: string): boolean {
  return part.endsWith('/') ? path.startsWith(part) : path === part
}

/** Why a file of this part may not import this; undefined when it may. */
function fault(part: Part, { target, ours, values }: Import): string | undefined {
  if (!ours) {
    if (target.startsWith('node:')) return part.node === false ? 'does without modules of Node' : undefined
    return part.packages?.includes(target) === true ? undefined : 'is not to use this package'
  }
  if (covers(part.path, target) || part.imports.some((allowed) => covers(allowed, target))) return undefined
  const typed = Object.entries(part.types ?? {}).find(([allowed]) => covers(allowed, target))
  if (typed === undefined)
    return `may import ${[...part.imports, ...Object.keys(part.types ?? {})].join(', ') || 'nothing of ours'}`
  const more = values.filter((value) => !typed[1].includes(value))
  return more.length === 0 ? undefined : `may import types of it alone, not ${more.join(', ')}`
}

function faultsOf(part: Part, files: readonly Source[]): string[] {
  return files
    .filter(({ path }) => partOf(path) === part)
    .flatMap(({ path, imports }) =>
      imports.flatMap((imported) => {
        const reason = fault(part, imported)
        return reason === undefined ? [] : [`src/${path} imports ${imported.target}: ${part.path} ${reason}`]
      }),
    )
}

describe('imports', () => {
  it.each(PARTS.map((part) => [part.path, part] as const))('of %s stay within what it may know', (_, part) => {
    expect(
      sources.some(({ path }) => partOf(path) === part),
      `src/${part.path} exists`,
    ).toBe(true)
    expect(faultsOf(part, sources)).toEqual([])
  })

  it('are ruled for every file', () => {
    expect(sources.filter(({ path }) => partOf(path) === undefined).map(({ path }) => path)).toEqual([])
    expect(sources.length).toBeGreaterThan(50)
  })

  it('name files that exist', () => {
    const paths = new Set(sources.map(({ path }) => path))
    const dangling = sources.flatMap(({ path, imports }) =>
      imports.filter(({ ours, target }) => ours && !paths.has(target)).map(({ target }) => `src/${path}: ${target}`),
    )
    expect(dangling).toEqual([])
  })

  it('have no cycles', () => {
    expect(cycleOf(sources)).toBeUndefined()
  })

  it('have no cycles between folders', () => {
    expect(cycleOf(foldersOf(sources))).toBeUndefined()
  })
})

/** The first cycle, as a path of files; undefined when there is none. */
function cycleOf(files: readonly Source[]): string | undefined {
  const bySource = new Map(files.map(({ path, imports }) => [path, imports.filter(({ ours }) => ours)]))
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): string | undefined => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path].join(' → ')
    if (done.has(path)) return undefined
    for (const { target } of bySource.get(path) ?? []) {
      const cycle = visit(target, [...trail, path])
      if (cycle !== undefined) return cycle
    }
    done.add(path)
    return undefined
  }
  for (const path of bySource.keys()) {
    const cycle = visit(path, [])
    if (cycle !== undefined) return cycle
  }
  return undefined
}

/**
 * Each folder as if it were one file. Files beside folders, such as `query/querier.ts`, put their folders together:
 * left out.
 */
function foldersOf(files: readonly Source[]): Source[] {
  const hasFolders = (folder: string): boolean => files.some(({ path }) => dirname(dirname(path)) === folder)
  const byFolder = new Map<string, Import[]>()
  for (const { path, imports } of files) {
    const folder = dirname(path)
    if (hasFolders(folder)) continue
    const outside = imports.flatMap((imported) => {
      const target = dirname(imported.target)
      return imported.ours && target !== folder && !hasFolders(target) ? [{ ...imported, target }] : []
    })
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), ...outside])
  }
  return [...byFolder].map(([path, imports]) => ({ path, text: '', imports }))
}

describe('no file', () => {
  it.each(RULES)('$name', ({ pattern, except = [] }) => {
    const offenders = sources
      .filter(({ path, text }) => !except.includes(path) && pattern.test(codeOf(text)))
      .map(({ path }) => `src/${path}`)
    expect(offenders).toEqual([])
  })
})

describe('these tests', () => {
  const file = (path: string, text: string): Source => ({ path, text, imports: importsOf(path, text) })
  const faults = (path: string, text: string): string[] => faultsOf(partOf(path)!, [file(path, text)])

  it.each([
    ['model/a.ts', "import { b } from '../sketch/b.ts'", 'sketch/b.ts'],
    ['write/a.ts', "import type { B } from '../query/b.ts'", 'query/b.ts'],
    ['query/a.ts', "import {\n  b,\n} from '../store/embedded/b.ts'", 'store/embedded/b.ts'],
    ['wire/a.ts', "export { b } from '../gateway.ts'", 'gateway.ts'],
    ['http/flux/a.ts', "import { type QueryResult, plan } from '../../query/plan/plan.ts'", 'not plan'],
    ['store/store.ts', "import { formatId, type Id64 } from '../model/id.ts'", 'not formatId'],
    ['rollup/a.ts', "const lazy = await import('lmdb')", 'lmdb'],
    ['write/a.ts', "import 'lmdb/native'", 'lmdb'],
    ['sketch/a.ts', "import { join } from 'node:path'", 'node:path'],
  ])('see the fault in %s: %s', (path, text, named) => {
    const [found, ...more] = faults(path, text)
    expect(more).toEqual([])
    expect(found).toContain(`src/${path}`)
    expect(found).toContain(named)
  })

  it('let types through where types are allowed', () => {
    expect(
      faults('http/flux/a.ts', "import { fillLine, type QueryResult } from '../../query/compute/result.ts'"),
    ).toEqual([])
    expect(faults('gateway.ts', "import type { Writer } from './write/commit/writer.ts'")).toEqual([])
  })

  it('see a cycle', () => {
    const cycle = [file('model/a.ts', "import { b } from './b.ts'"), file('model/b.ts', "export { a } from './a.ts'")]
    expect(cycleOf(cycle)).toBe('model/a.ts → model/b.ts → model/a.ts')
  })

  it.each([
    ['has the type any', 'const a: any = 1', true],
    ['has the type any', 'const a = new Map<string, any>()', true],
    ['has the type any', 'const a = b as any', true],
    ['has the type any', '// as any\nconst anything: many = { any: 1 }', false],
    ['reads the environment', 'const { PORT } = process.env', true],
    ['reads the environment', "log('process.env')", false],
    ['has a default export', 'export default 1', true],
  ])('know what %s: %s', (name, text, breaks) => {
    expect(RULES.find((rule) => rule.name === name)!.pattern.test(codeOf(text))).toBe(breaks)
  })
})
