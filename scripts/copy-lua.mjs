import { cpSync } from 'node:fs'
import { join } from 'node:path'

/**
 * The compiler leaves the Redis scripts behind: `node scripts/copy-lua.mjs FOLDER` brings them to where FOLDER
 * expects them.
 */
const [, , folder] = process.argv
if (folder === undefined) throw new Error('name the folder that holds the compiled sources')
const lua = join('store', 'redis', 'lua')
cpSync(join('src', lua), join(folder, lua), { recursive: true })
