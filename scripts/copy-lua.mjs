import { cpSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Copies the Lua scripts for Redis into FOLDER, which holds compiled sources: `node scripts/copy-lua.mjs FOLDER`. The
 * compiler ignores them.
 */
const [, , folder] = process.argv
if (folder === undefined) throw new Error('name the folder that holds the compiled sources')
const lua = join('store', 'redis', 'lua')
cpSync(join('src', lua), join(folder, lua), { recursive: true })
