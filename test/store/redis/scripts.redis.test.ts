import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { SCRIPTS, scriptSource } from '../../../src/store/redis/scripts.ts'

const FOLDER = new URL('../../../src/store/redis/lua/', import.meta.url)

function bodyOf(verb: string): string {
  return readFileSync(new URL(`${verb}.lua`, FOLDER), 'utf8')
}

/** The names of a section of the header: `-- KEYS   a (b c)*` and the lines indented below it. */
function namesIn(source: string, section: 'KEYS' | 'ARGV' | 'REPLY'): string {
  const lines = source.split('\n').filter((line) => line.startsWith('--'))
  const start = lines.findIndex((line) => line.startsWith(`-- ${section} `))
  expect(start, `${section} in the header`).toBeGreaterThan(0)
  const rest = lines.slice(start + 1)
  const end = rest.findIndex((line) => !line.startsWith('--        '))
  return [lines[start]!.slice(`-- ${section}`.length), ...rest.slice(0, end).map((line) => line.slice(2))].join(' ')
}

function identifiers(text: string): string[] {
  return [...new Set(text.match(/[A-Za-z]+/g) ?? [])].sort()
}

function taken(source: string, functions: string): string[] {
  const calls = source.matchAll(new RegExp(`\\b(?:${functions})\\('([A-Za-z]+)'`, 'g'))
  return [...new Set([...calls].map(([, name]) => name!))].sort()
}

function quoted(text: string): string[] {
  return [...new Set([...text.matchAll(/'([A-Za-z]+)'/g)].map(([, word]) => word!))].sort()
}

test('every script in the folder is a verb, and the other way round', () => {
  const files = readdirSync(FOLDER).filter((file) => file !== 'prelude.lua')
  expect(files.sort()).toEqual(SCRIPTS.map((verb) => `${verb}.lua`).sort())
})

describe.each(SCRIPTS)('the header of %s', (verb) => {
  const source = bodyOf(verb)

  test('names the keys that the body takes, and no others', () => {
    expect(identifiers(namesIn(source, 'KEYS'))).toEqual(taken(source, 'key'))
  })

  test('names the arguments that the body takes, and no others', () => {
    expect(identifiers(namesIn(source, 'ARGV'))).toEqual(taken(source, 'argument|arguments|integer|count'))
  })

  test('names the strings that the body returns', () => {
    const words = [...source.matchAll(/(?:\{ |return )'([A-Za-z]+)'/g)].map(([, word]) => word!)
    expect(quoted(namesIn(source, 'REPLY'))).toEqual([...new Set(words)].sort())
  })

  test('states how long the server is blocked', () => {
    expect(source).toMatch(/^-- Blocks the server /m)
  })

  test('keys and arguments are taken by name alone, and all before the first write', () => {
    const rest = source.replaceAll('unpack(ARGV, from, math.min(from + UNPACKED_MAX - 1, set.to))', '')
    expect(rest).not.toMatch(/\b(KEYS|ARGV)\b(?! {3})/)
    expect(source.match(/^complete\(\)$/gm)).toHaveLength(1)
    const top = source.slice(source.indexOf('\ncomplete()'))
    expect(top).not.toMatch(/[ (]key\(|argument\(|integer\(|count\(/)
  })

  test('the prelude is put below the first line', () => {
    expect(scriptSource(verb).startsWith('#!lua')).toBe(true)
    expect(scriptSource(verb)).toContain('local function complete()')
  })
})
