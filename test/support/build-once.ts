import { execFile } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { built } from './child-gateway.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COMPILED = join(ROOT, 'dist', 'playground')

/**
 * Before all tests: compiles the gateway that tests start as a process, and the pages that a gateway serves from `dist`
 * when it runs from its sources. No test then waits for a compiler. Both are kept until a source changes.
 */
export async function setup(): Promise<void> {
  await built()
  await buildPages()
}

async function buildPages(): Promise<void> {
  if (existsSync(COMPILED) && timeOf(COMPILED, Math.min) > timeOf(join(ROOT, 'playground'), Math.max)) return
  await promisify(execFile)(process.execPath, ['scripts/build-playground.mjs', 'dist'], { cwd: ROOT })
}

/** The time of the file that was changed first or last. */
function timeOf(folder: string, choose: (...timesMs: number[]) => number): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return choose(...files.map(({ parentPath, name }) => statSync(join(parentPath, name)).mtimeMs))
}
