import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { CommandArgument, Connection } from './connection.ts'

/**
 * Loads and runs the Lua scripts. The server runs a script without interruption, so each script is one atomic step. The
 * header of a script lists its keys, its arguments and its reply. `prelude.lua` is inserted after the first line of
 * each script. Redis does not roll back a script that fails, so a script checks the types of its keys, and the numbers
 * and stretches that it reads, before its first write.
 */
export const SCRIPTS = [
  'append',
  'clear-sets',
  'commit-fold',
  'count-distinct',
  'define-metrics',
  'delete-metric',
  'expire-events',
  'expire-window',
  'has-series',
  'inbox-size',
  'read-events',
  'read-inbox',
  'read-index',
  'read-metrics',
  'read-series',
  'sweep',
  'take-lease',
  'take-permits',
  'write-blocks',
  'write-receipt',
] as const
export type ScriptName = (typeof SCRIPTS)[number]

interface Script {
  readonly source: string
  readonly sha: string
}

/** The keys and arguments of one call of a script, in the order of the script's header. */
export class ScriptCall {
  readonly keys: string[] = []
  readonly args: CommandArgument[] = []

  key(...keys: readonly string[]): this {
    for (const key of keys) this.keys.push(key)
    return this
  }

  arg(...args: readonly CommandArgument[]): this {
    for (const arg of args) this.args.push(arg)
    return this
  }
}

const luaFolder = new URL('./lua/', import.meta.url)

export function scriptSource(name: ScriptName): string {
  const [shebang, ...body] = readFileSync(new URL(`${name}.lua`, luaFolder), 'utf8').split('\n')
  return [shebang, readFileSync(new URL('prelude.lua', luaFolder), 'utf8'), ...body].join('\n')
}

const scripts = new Map<ScriptName, Script>()

function scriptOf(name: ScriptName): Script {
  let script = scripts.get(name)
  if (script === undefined) {
    const source = scriptSource(name)
    script = { source, sha: createHash('sha1').update(source).digest('hex') }
    scripts.set(name, script)
  }
  return script
}

/** Runs a script. Sends only the hash of its source; if the server does not know the hash, sends the source. */
export async function runScript(
  connection: Connection,
  name: ScriptName,
  { keys, args }: ScriptCall,
): Promise<unknown> {
  const { source, sha } = scriptOf(name)
  try {
    return await connection.call('evalsha', [sha, keys.length, ...keys, ...args])
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
    return connection.call('eval', [source, keys.length, ...keys, ...args])
  }
}
