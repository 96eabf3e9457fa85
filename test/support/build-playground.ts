import { execFile } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COMPILED = join(ROOT, 'dist', 'playground')

/** Before all tests: a gateway that runs from its sources serves the pages from `dist`, so they are compiled when they are older. */
export async function setup(): Promise<void> {
  if (existsSync(COMPILED) && timeOf(COMPILED, Math.min) > timeOf(join(ROOT, 'playground'), Math.max)) return
  await promisify(execFile)(process.execPath, ['scripts/build-playground.mjs', 'dist'], { cwd: ROOT })
}

/** The time of the file that was changed first or last. */
function timeOf(folder: string, choose: (...timesMs: number[]) => number): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return choose(...files.map(({ parentPath, name }) => statSync(join(parentPath, name)).mtimeMs))
}
