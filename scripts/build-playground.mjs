import { execFileSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Compiles what browsers run, and copies styles and pictures beside it: `node scripts/build-playground.mjs FOLDER`. All
 * files below FOLDER/playground are served.
 */
const [, , folder] = process.argv
if (folder === undefined) throw new Error('name the folder that holds the compiled sources')
const target = join(folder, 'playground')
rmSync(target, { recursive: true, force: true })
const compiler = join('node_modules', 'typescript', 'bin', 'tsc')
execFileSync(process.execPath, [compiler, '-p', 'tsconfig.playground.json', '--outDir', target], { stdio: 'inherit' })
cpSync(join('playground', 'styles'), join(target, 'styles'), { recursive: true })
