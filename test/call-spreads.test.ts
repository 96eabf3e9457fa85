import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/**
 * `f(...list)` puts every element on the stack: some hundred thousand of them end the call with a RangeError. So each
 * spread into a call is listed here with what bounds its list; a list that clients decide about is walked instead.
 */
const BOUNDED: Readonly<Record<string, readonly string[]>> = {
  // Keys of an installation, which people make one by one.
  'access/keys-command.ts': ['rows.map((row) => row[i]!.length)'],
  // Two.
  'model/earlier-period.ts': ['lengthsMs'],
  // The few headers of a response.
  'http/flux/fast-path.ts': ['errorHeaders(error.code)', 'JSON_HEADERS'],
  // Groups of an IP address.
  'model/network.ts': ['groupsAfterGap.split()'],
  // The arguments of a verb of the store contract.
  'store/redis/redis-store.ts': ['args'],
  // Partitions, of which there are few thousands at most.
  'write/fold/fold-loop.ts': ['this.#schedulers.map((scheduler) => scheduler.oldestEntryAgeMs)'],
  // Resolutions.
  'store/redis/deletion.ts': ['expired'],
  // The two strings of a block.
  'store/redis/timelines.ts': ['blockKeys(entry.block)', 'blockKeys(entry.block)', 'blockKeys(name)'],
}

const SRC = fileURLToPath(new URL('../src', import.meta.url))

describe('call spreads', () => {
  it('are only those whose lists are bounded', () => {
    const found: Record<string, string[]> = {}
    for (const file of readdirSync(SRC, { recursive: true, encoding: 'utf8' }).sort()) {
      if (!/\.ts$/.test(file)) continue
      const spreads = callSpreads(readFileSync(join(SRC, file), 'utf8'))
      if (spreads.length > 0) found[file.replaceAll('\\', '/')] = spreads
    }
    expect(found).toEqual(BOUNDED)
  })

  it.each([
    ['list.push(...others)', ['others']],
    ['Math.max(0, ...sizes.map((size) => size + 1), 5)', ['sizes.map((size) => size + 1)']],
    ['new Date(...fields)', ['fields']],
    ['call(`$' + '{f(...inner)}`, { ...object }, [...array])', ['inner']],
    ['f.apply(undefined, list)', ['apply']],
    ['function f(...rest: number[]): void {}', []],
    ['const f = async (...rest) => [...rest]', []],
    ["text('f(...list)') // g(...list)", []],
    ['/\\((...)/.exec(text)', []],
  ])('are found in %s', (source, spreads) => {
    expect(callSpreads(source)).toEqual(spreads)
  })
})

/** What is spread into calls: the text up to the next comma or the end of the call. */
function callSpreads(source: string): string[] {
  const code = withoutTexts(source)
  const found = [...code.matchAll(/\.apply\((?!\s*\))/g)].map(() => 'apply')
  const open: number[] = []
  for (let at = 0; at < code.length; at++) {
    if ('([{'.includes(code[at]!)) open.push(at)
    else if (')]}'.includes(code[at]!)) open.pop()
    else if (code.startsWith('...', at) && code[open.at(-1)!] === '(') {
      if (!isParameters(code, open.at(-1)!)) found.push(code.slice(at + 3, endOf(code, at, true)))
      at += 2
    }
  }
  return found
}

function isParameters(code: string, opening: number): boolean {
  return /^\s*(=>|:|\{)/.test(code.slice(endOf(code, opening + 1, false) + 1))
}

/** Where the brackets around `at` close, or their next element begins. */
function endOf(code: string, at: number, atComma: boolean): number {
  let depth = 0
  for (let end = at; end < code.length; end++) {
    if ('([{'.includes(code[end]!)) depth++
    else if (')]}'.includes(code[end]!) && depth-- === 0) return end
    else if (atComma && code[end] === ',' && depth === 0) return end
  }
  return code.length
}

/** Without comments, strings and regular expressions; what templates compute stays. */
function withoutTexts(source: string): string {
  const texts =
    /\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(?<=[(,=:[!&|?{};]\s*)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*|^\/(?:\\.|[^/\\\n])+\//g
  return source.replace(texts, '').replace(/`(?:\\.|[^`\\])*`/g, (template) => {
    const computed = [...template.matchAll(/\$\{([^}]*)\}/g)].map(([, code]) => code)
    return `[${computed.join(', ')}]`
  })
}
