import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isObject } from '../../model/is-object.ts'

/**
 * Reads registered operations, by id, from a file or the files of a folder. A `.graphql` or `.gql` file holds one
 * document, whose id is the SHA-256 of its text. A `.json` file is a manifest: `{ID: document}` as code generators
 * write it, or Apollo's `{"operations": [{"id", "body"}]}`. Other files are ignored. An empty path gives no operations.
 * Throws when a manifest is not JSON, is not an object or has an invalid entry, or when the path has no operations.
 */
export async function readRegisteredOperations(path: string): Promise<ReadonlyMap<string, string>> {
  const registered = new Map<string, string>()
  if (path === '') return registered
  const paths = (await stat(path)).isDirectory() ? (await readdir(path)).sort().map((name) => join(path, name)) : [path]
  for (const file of paths) {
    if (/\.(?:graphql|gql)$/.test(file)) {
      const text = await readFile(file, 'utf8')
      registered.set(createHash('sha256').update(text).digest('hex'), text)
    } else if (file.endsWith('.json')) {
      for (const [id, text] of operationsOf(file, await readFile(file, 'utf8'))) registered.set(id, text)
    }
  }
  if (registered.size === 0) throw new Error(`${path} has no operations`)
  return registered
}

/** Returns the operations of a manifest. Throws an error with the name of the file. */
function operationsOf(file: string, text: string): readonly (readonly [id: string, document: string])[] {
  const manifest = parseManifest(file, text)
  if (!isObject(manifest)) throw manifestError(file)
  const entries: readonly (readonly [unknown, unknown])[] = Array.isArray(manifest['operations'])
    ? manifest['operations'].map((row: unknown) => (isObject(row) ? [row['id'], row['body']] : [undefined, undefined]))
    : Object.entries(manifest)
  return entries.map(([id, document]) => {
    if (typeof id === 'string' && typeof document === 'string') return [id, document]
    throw manifestError(file)
  })
}

function parseManifest(file: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Error(`${file} is not JSON: ${(cause as Error).message}`, { cause })
  }
}

function manifestError(file: string): Error {
  return new Error(`${file} must be {ID: document} or {"operations": [{"id", "body"}]}`)
}
