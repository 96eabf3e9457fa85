import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isObject } from '../../model/is-object.ts'

/**
 * Reads registered operations, by id, from a file or the files of a folder. A `.graphql` or `.gql` file holds one
 * document, whose id is the SHA-256 of its text. A `.json` file is a manifest: `{ID: document}` as code generators
 * write it, or Apollo's `{"operations": [{"id", "body"}]}`. Other files are ignored. An empty path gives no operations.
 * Throws when a manifest is not JSON or has an invalid entry, or when the path has no operations.
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
      for (const [id, text] of operationsOf(file, JSON.parse(await readFile(file, 'utf8')))) registered.set(id, text)
    }
  }
  if (registered.size === 0) throw new Error(`${path} has no operations`)
  return registered
}

function operationsOf(file: string, manifest: unknown): readonly (readonly [id: string, text: string])[] {
  const entries: readonly (readonly [unknown, unknown])[] = !isObject(manifest)
    ? []
    : Array.isArray(manifest['operations'])
      ? manifest['operations'].map((row: unknown) =>
          isObject(row) ? [row['id'], row['body']] : [undefined, undefined],
        )
      : Object.entries(manifest)
  return entries.map(([id, text]) => {
    if (typeof id === 'string' && typeof text === 'string') return [id, text]
    throw new Error(`${file} must be {ID: document} or {"operations": [{"id", "body"}]}`)
  })
}
