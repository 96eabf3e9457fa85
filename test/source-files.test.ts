import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/** What the formatter does not check: the width of comments, and the length of files. */

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const COMMENT_COLUMNS_MAX = 120
const FILE_LINES_MAX = 450

function filesIn(folder: string): { readonly path: string; readonly lines: readonly string[] }[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ path: join(folder, name), lines: readFileSync(join(ROOT, folder, name), 'utf8').split('\n') }))
}

const isWideComment = (line: string) => line.length > COMMENT_COLUMNS_MAX && /^\s*(?:\/\*|\*|\/\/)/.test(line)

describe.each(['src', 'client', 'playground', 'demo', 'bench', 'test', 'examples'])('files of %s', (folder) => {
  it('have comments of at most 120 columns', () => {
    const wide = filesIn(folder).flatMap(({ path, lines }) =>
      lines.flatMap((line, i) => (isWideComment(line) ? [`${path}:${i + 1}`] : [])),
    )
    expect(wide).toEqual([])
  })
})

it('no file of src is longer than 450 lines', () => {
  const long = filesIn('src').filter(({ lines }) => lines.length - 1 > FILE_LINES_MAX)
  expect(long.map(({ path }) => path)).toEqual([])
})

it('a wide comment is seen, and a wide line of code is not', () => {
  const wide = 'x'.repeat(COMMENT_COLUMNS_MAX)
  for (const line of [`// ${wide}`, `   * ${wide}`, `/** ${wide} */`]) expect(isWideComment(line)).toBe(true)
  for (const line of [`const text = '${wide}'`, '// short']) expect(isWideComment(line)).toBe(false)
})
