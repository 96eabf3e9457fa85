import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The gateway, or the demo with its own, as a process: what is tested here is how it starts, stops and dies. */
export interface ChildGateway {
  readonly url: string
  readonly process: ChildProcess
  /** Standard output so far. */
  readonly output: () => string
  /** The first group of a pattern once standard output has it. Rejects when the process ends without. */
  shown(pattern: RegExp): Promise<string>
  /** Resolves when the process is gone. */
  readonly exited: Promise<Exit>
  kill(signal: NodeJS.Signals): Promise<Exit>
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: string
  readonly errors: string
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const START_MS_MAX = 45_000

/** Starts a gateway and waits until it listens. Rejects when it exits before, saying what it printed. */
export function startChild(env: Readonly<Record<string, string>>): Promise<ChildGateway> {
  return startProgram('main.js', env)
}

/** `npm run demo`, without the npm. */
export function startDemo(env: Readonly<Record<string, string>>): Promise<ChildGateway> {
  return startProgram('demo/run.js', env)
}

/** `path` begins at the folder of the compiled gateway, unless it is absolute. */
export async function startProgram(path: string, env: Readonly<Record<string, string>>): Promise<ChildGateway> {
  const child = await spawnChild(path, env)
  const timer = setTimeout(() => child.process.kill('SIGKILL'), START_MS_MAX)
  const url = await child.shown(/listens on (http:\S+)\n/).finally(() => clearTimeout(timer))
  return { ...child, url }
}

/** Starts a gateway that is expected to give up, or a command, and waits until it is over. */
export async function runChild(
  env: Readonly<Record<string, string>>,
  args: readonly string[] = [],
  shell?: string,
): Promise<Exit> {
  const child = await spawnChild('main.js', env, args, shell)
  const timer = setTimeout(() => child.process.kill('SIGKILL'), START_MS_MAX)
  return child.exited.finally(() => clearTimeout(timer))
}

async function spawnChild(
  path: string,
  env: Readonly<Record<string, string>>,
  args: readonly string[] = [],
  /** What bash does before the program, in its process. */
  shell?: string,
): Promise<Omit<ChildGateway, 'url'>> {
  const { PATH = '', HOME = '' } = process.env
  const program = resolve(await built(), path)
  const command = [process.execPath, '--enable-source-maps', program, ...args]
  const [file, ...rest] = shell === undefined ? command : ['bash', '-c', `${shell}; exec "$@"`, 'bash', ...command]
  const child = spawn(file!, rest, {
    // Nothing of the environment that runs the tests: it may hold settings.
    env: { PATH, HOME, LOG_LEVEL: 'silent', RATE_LIMITS: 'off', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const exited = new Promise<Exit>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, output, errors }))
  })
  const kill = (signal: NodeJS.Signals): Promise<Exit> => {
    child.kill(signal)
    return exited
  }
  const shown = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = pattern.exec(output)?.[1]
        if (found === undefined) return
        child.stdout.off('data', look)
        resolve(found)
      }
      child.stdout.on('data', look)
      look()
      exited.then(
        ({ code, signal }) => reject(new Error(`it ended (${signal ?? code}) and never showed ${pattern}: ${errors}`)),
        reject,
      )
    })
  return { process: child, output: () => output, shown, exited, kill }
}

let building: Promise<string> | undefined

/** The folder of the compiled gateway, made anew when a source has changed. It lies where imports find the packages. */
export function built(): Promise<string> {
  building ??= build()
  return building
}

async function build(): Promise<string> {
  const cache = join(ROOT, 'node_modules', '.cache', 'gaugeql-test')
  const hash = createHash('sha256')
  const files = ['src', 'client', 'demo', 'playground'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  )
  const settings = ['build', 'demo', 'playground'].map((name) => join(ROOT, `tsconfig.${name}.json`))
  const scripts = ['build-client.mjs', 'build-playground.mjs'].map((name) => join(ROOT, 'scripts', name))
  const builders = [join(ROOT, 'tsconfig.json'), ...scripts]
  for (const path of [...files.sort(), ...settings, ...builders]) hash.update(path).update(readFileSync(path))
  const folder = join(cache, hash.digest('hex').slice(0, 16))
  const target = join(folder, 'dist')
  if (existsSync(target)) return target
  await mkdir(folder, { recursive: true })
  // The gateway reads these from beside its folder.
  for (const name of ['schema', 'package.json']) {
    await symlink(join(ROOT, name), join(folder, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
  const draft = `${target}.${process.pid}`
  await compile('tsconfig.build.json', draft, 'main.js')
  await compile('tsconfig.demo.json', join(draft, 'demo'), 'run.js')
  const steps = [
    ['scripts/copy-lua.mjs', draft],
    ['scripts/build-client.mjs', join(draft, 'client')],
    ['scripts/build-playground.mjs', draft],
  ]
  for (const step of steps) await promisify(execFile)(process.execPath, step, { cwd: ROOT })
  // Another test file may have been faster.
  await rename(draft, target).catch(() => rm(draft, { recursive: true, force: true }))
  return target
}

/** Types are checked elsewhere; what matters here is what runs. */
async function compile(project: string, folder: string, result: string): Promise<void> {
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
  await promisify(execFile)(tsc, ['-p', project, '--outDir', folder], { cwd: ROOT }).catch((error: unknown) => {
    if (!existsSync(join(folder, result))) throw error
  })
}
