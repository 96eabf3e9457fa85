import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestGateway } from './gateway.ts'

/** A configuration of docs/send.md, between the comments `NAME:begin` and `NAME:end`, for this gateway. */
export function documented(name: string, { url, key }: TestGateway): string {
  const page = readFileSync(join(import.meta.dirname, '../../docs/send.md'), 'utf8')
  const block = new RegExp(`<!-- ${name}:begin -->\\n\`\`\`\\w+\\n([\\s\\S]*?)\`\`\`\\n<!-- ${name}:end -->`).exec(
    page,
  )?.[1]
  if (block === undefined) throw new Error(`docs/send.md has no configuration ${name}`)
  return block.replaceAll('http://127.0.0.1:4000', url).replaceAll('gq_KEY', key)
}
