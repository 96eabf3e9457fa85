import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

/** A program that tests run and no package of npm brings. */
export interface Program {
  /** Names it may have on the PATH, the best first. */
  readonly names: readonly string[]
  /** Of Debian. */
  readonly packageName: string
}

/**
 * The path of the first that is there. Tests never skip for want of it: it is installed where that is allowed (to root,
 * or with sudo that asks for no password), else this throws and says what to install.
 */
export async function installedProgram(program: Program): Promise<string> {
  const found = onPath(program)
  if (found !== undefined) return found
  const { names, packageName } = program
  const reason = await install(packageName).then(
    () => 'apt-get installed none',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  )
  const name = onPath(program)
  if (name !== undefined) return name
  throw new Error(`the tests need ${names.join(' or ')} on the PATH: apt-get install ${packageName} (${reason})`)
}

function onPath({ names }: Program): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

async function install(packageName: string): Promise<void> {
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '--non-interactive', '--preserve-env=DEBIAN_FRONTEND']
  const apt = async (...args: readonly string[]): Promise<void> => {
    const [command, ...rest] = [...asRoot, 'apt-get', ...args]
    await promisify(execFile)(command!, rest, { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
  }
  // Test files that run at once wait for each other.
  const wait = ['--option', 'DPkg::Lock::Timeout=300']
  await apt(...wait, 'update')
  await apt(...wait, 'install', '--yes', '--no-install-recommends', packageName)
}
