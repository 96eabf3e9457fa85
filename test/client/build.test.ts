import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it } from 'vitest'

/** The modules as they are built for pages and for Node. */

const ROOT = join(import.meta.dirname, '..', '..')
const GZIPPED_BYTES_MAX = 2_000
const run = promisify(execFile)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-test-'))
  await run(process.execPath, ['scripts/build-client.mjs', folder], { cwd: ROOT })
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
  await run(tsc, ['-p', 'tsconfig.client.json', '--outDir', folder], { cwd: ROOT })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

it.each(['tracker', 'live'])('%s.js is one module of at most 2 kB gzipped', async (name) => {
  const source = await readFile(join(folder, `${name}.js`))
  expect(gzipSync(source, { level: 9 }).length).toBeLessThanOrEqual(GZIPPED_BYTES_MAX)
  expect(source.toString()).not.toMatch(/\bimport\b/)
})

it('the types serve a strict TypeScript program, and find its mistakes', async () => {
  const check = async (call: string): Promise<string> => {
    const file = join(folder, 'program.ts')
    await writeFile(
      file,
      `import { createTracker } from './tracker.js'
       import { subscribeLive } from './live.js'
       const tracker = createTracker({ url: '/graphql', key: 'k', onDrop: (count, code) => console.log(count + 1, code.length) })
       tracker.gauge('a', 1, { b: true })
       subscribeLive({ url: '/graphql', key: 'k', query: '' }, ({ series }) => console.log(series[0]?.values?.[0]))
       ${call}`,
    )
    const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
    const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom', '--types', '']
    const args = ['--ignoreConfig', '--noEmit', ...options, file]
    return run(tsc, args, { cwd: folder }).then(
      () => '',
      ({ stdout }: { stdout: string }) => stdout,
    )
  }
  expect(await check("tracker.event('e', { properties: { n: 1 } })")).toBe('')
  expect(await check("tracker.member('a', 5)")).toContain("'number' is not assignable to parameter of type 'string'")
})

const UNREACHABLE = 'http://127.0.0.1:9/graphql'

it.each([
  ['lets a process end that nobody keeps alive', '', ''],
  ['keeps a process alive until close has given up', 'await tracker.close(300)', 'dropped 1 closed'],
])('in Node the tracker %s', async (_case, ending, printed) => {
  const program = join(folder, 'program.mjs')
  await writeFile(
    program,
    `import { createTracker } from '${pathToFileURL(join(folder, 'tracker.js'))}'
     const onDrop = (count, code) => console.log('dropped', count, code)
     const tracker = createTracker({ url: '${UNREACHABLE}', key: 'k', flushMs: 10, onDrop })
     tracker.count('a')
     await new Promise((resolve) => setTimeout(resolve, 50))
     ${ending}`,
  )
  const { stdout } = await run(process.execPath, [program], { timeout: 10_000 })
  expect(stdout.trim()).toBe(printed)
})
