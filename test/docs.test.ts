import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { ALL_SETTINGS } from '../src/config/settings/all-settings.ts'
import { ERROR_CODES } from '../src/http/response/error-status.ts'

const ROOT = join(import.meta.dirname, '..')
const PAGES = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]
const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8')

test.each(PAGES)('%s links to files that exist', (page) => {
  const targets = [...textOf(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map((match) => match[1]!)
  const missing = targets.filter((target) => !/^https?:/.test(target) && !existsSync(join(ROOT, dirname(page), target)))
  expect(missing).toEqual([])
})

test.each(PAGES)('%s links to headings that exist', (page) => {
  const targets = [...textOf(page).matchAll(/\]\(([^)#\s]*)#([^)]+)\)/g)]
  const missing = targets.filter(([, file, heading]) => {
    const target = file === '' ? page : join(dirname(page), file!)
    return !headingsOf(target).includes(heading!)
  })
  expect(missing.map(([link]) => link)).toEqual([])
})

test('ARCHITECTURE.md answers twelve questions with places that exist', () => {
  const table = /<!-- places:begin -->\n([\s\S]*?)<!-- places:end -->/.exec(textOf('ARCHITECTURE.md'))![1]!
  const places = [...table.matchAll(/`(src\/[^`]+|playground\/[^`]+|schema\/[^`]+)`/g)].map((match) => match[1]!)
  expect(places.length).toBeGreaterThanOrEqual(12)
  expect(places.filter((place) => !existsSync(join(ROOT, place)))).toEqual([])
})

test('README.md is at most 200 lines', () => {
  expect(textOf('README.md').split('\n').length).toBeLessThanOrEqual(200)
})

/** The anchors that GitHub gives to the headings of a page. */
function headingsOf(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.+)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

describe('docs/limits.md', () => {
  const rows = /<!-- limits:begin -->\n([\s\S]*?)<!-- limits:end -->/
    .exec(textOf('docs/limits.md'))![1]!
    .trim()
    .split('\n')
    .slice(2)
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, limit, name, value, beyond]) => ({
      limit,
      name: name!.replaceAll('`', ''),
      value: value!,
      beyond: beyond!,
    }))

  it('names each setting with its default, or a constant with its value', () => {
    const source = sourceText()
    const wrong = rows.filter(({ name, value }) => {
      const setting = ALL_SETTINGS.find((row) => row.name === name)
      if (setting !== undefined) return setting.default !== value
      const declared = new RegExp(`const ${name}(?:: number)? = (.+)$`, 'm').exec(source)?.[1]
      return declared === undefined || !/^[\d_ *+()]+$/.test(declared) || evaluate(declared) !== Number(value)
    })
    expect(wrong).toEqual([])
  })

  it('names codes that exist', () => {
    const codes = rows.flatMap(({ beyond }) => [...beyond.matchAll(/`([a-z_]{7,})`/g)].map((match) => match[1]!))
    expect(codes.length).toBeGreaterThan(20)
    expect(codes.filter((code) => !ERROR_CODES.includes(code))).toEqual([])
  })

  it('has every setting that raises a code', () => {
    const names = new Set(rows.map(({ name }) => name))
    const raising = ALL_SETTINGS.filter(({ meaning }) => /; [a-z]+_[a-z_]+|; overloaded/.test(meaning))
    expect(raising.map(({ name }) => name).filter((name) => !names.has(name))).toEqual([])
  })

  function sourceText(): string {
    const folder = join(ROOT, 'src')
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
    return files.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n')
  }

  function evaluate(expression: string): number {
    return expression
      .replaceAll('_', '')
      .split('*')
      .reduce((product, factor) => product * Number(factor), 1)
  }
})
