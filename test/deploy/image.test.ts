import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { ALL_SETTINGS } from '../../src/config/settings/all-settings.ts'
import { built, startProgram } from '../support/child-gateway.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/**
 * The Dockerfile, as far as it can be held true without an engine: its last stage is laid out in a folder and started
 * there.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Instruction {
  readonly name: string
  readonly rest: string
}

const instructions: readonly Instruction[] = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [, name, rest] = /^([A-Z]+) (.*)$/.exec(line)!
    return { name: name!, rest: rest! }
  })
const lastStage = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'))

const given = (name: string): string[] =>
  lastStage.filter((instruction) => instruction.name === name).map(({ rest }) => rest)
const commandOf = (text: string): string[] => JSON.parse(text.slice(text.indexOf('['))) as string[]
const environment = Object.fromEntries(
  given('ENV').flatMap((line) => line.split(' ').map((pair): [string, string] => pair.split('=') as [string, string])),
)

/** What each stage begins with is the checkout; what a stage makes is what has been made of it here. */
async function layOut(folder: string): Promise<void> {
  for (const line of given('COPY')) {
    const [from = '', to = ''] = line.replace(/^--from=\S+ /, '').split(' ')
    const target = join(folder, to, to === './' ? from : '')
    mkdirSync(dirname(target), { recursive: true })
    if (from === '/app/node_modules') symlinkSync(join(ROOT, 'node_modules'), target)
    else cpSync(from === '/app/dist' ? await built() : join(ROOT, from), target, { recursive: true })
  }
}

test('what an image copies is there, and not left out of the build', () => {
  const ignored = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n')
  expect(ignored).toContain('*')
  const copied = instructions
    .filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from='))
    .flatMap(({ rest }) => rest.split(' ').slice(0, -1))
  expect(copied.length).toBeGreaterThan(5)
  for (const path of copied) {
    expect(existsSync(join(ROOT, path)), path).toBe(true)
    expect(ignored).toContain(`!${path}`)
  }
})

test('the gateway of an image starts, serves all it has, and is healthy until it ends', async () => {
  const folder = await temporaryFolder()
  await layOut(folder)
  expect(given('USER')).toEqual(['node'])
  const names = new Set<string>(ALL_SETTINGS.map(({ name }) => name))
  expect(Object.keys(environment).filter((name) => !names.has(name))).toEqual(['NODE_ENV'])
  expect(environment['HOST']).toBe('0.0.0.0')

  const [node, ...args] = commandOf(given('CMD')[0]!)
  const packaged = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { start: string } }
  expect([node, ...args].join(' ')).toBe(packaged.scripts.start)
  const data = await temporaryFolder()
  const gateway = await startProgram(join(folder, args.at(-1)!), { ...environment, PORT: '0', DATA_DIR: data })
  onTestFinished(() => {
    gateway.process.kill('SIGKILL')
  })

  const health = (): number | null => {
    const [program, ...rest] = commandOf(given('HEALTHCHECK')[0]!)
    expect(program).toBe('node')
    return spawnSync(process.execPath, rest, { env: { PORT: new URL(gateway.url).port } }).status
  }
  expect(health()).toBe(0)
  for (const path of ['graphql', 'openapi.json']) {
    const response = await fetch(`${gateway.url}/${path}`, { headers: { accept: 'text/html, application/json' } })
    expect([path, response.status]).toEqual([path, 200])
  }
  expect((await gateway.kill('SIGTERM')).code).toBe(0)
  expect(health()).toBe(1)
}, 60_000)
