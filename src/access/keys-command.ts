import { parseArgs } from 'node:util'
import { parseInstantText } from '../model/parse-instant.ts'
import { formatRateLimits, parseRateLimits } from '../model/rate.ts'
import { formatInstant, parseDuration } from '../model/time.ts'
import { type ApiKeyRow, SCOPES } from '../store/api-keys.ts'
import type { ApiKeyStore } from '../store/store.ts'
import { hashKey, isProjectName, isScope, newKey } from './api-keys.ts'

/** The usage text of the command `keys`. */
export const KEYS_USAGE = `Usage: npm run keys -- COMMAND

  create --project NAME [--scopes ingest,query,admin] [--label TEXT] [--limits batch=100,query=off] [--expires 90d]
         creates a key and shows it once. Without --scopes it may ingest and query.
         --expires takes a duration or an instant; --limits takes what RATE_LIMITS takes.
  list [--project NAME]
         lists the keys of all projects or of one, by id. It cannot show the keys themselves.
  revoke ID…
         revokes keys by the ids that list shows. Running gateways follow within 5 seconds.

  --json prints JSON.

The store is the gateway's: DATA_DIR, or REDIS_URL and REDIS_CLUSTER_NODES. Gateways may run at the same time.`

/** Thrown if the command line is wrong, or if an id in it matches no key or several keys. */
export class UsageError extends Error {}

const OPTIONS = {
  project: { type: 'string' },
  scopes: { type: 'string' },
  label: { type: 'string' },
  limits: { type: 'string' },
  expires: { type: 'string' },
  json: { type: 'boolean' },
} as const

type Options = { readonly [K in keyof typeof OPTIONS]?: string | boolean | undefined }

interface KeysCommand {
  /** Runs the command. Returns the text to print. Throws `UsageError` if an id matches no key or several keys. */
  run(store: ApiKeyStore, nowMs: number): Promise<string>
}

/** The options that each command accepts. */
const ALLOWED_OPTIONS = new Map<string, readonly (keyof typeof OPTIONS)[]>([
  ['create', ['project', 'scopes', 'label', 'limits', 'expires', 'json']],
  ['list', ['project', 'json']],
  ['revoke', ['json']],
])

/**
 * Parses the arguments after `keys`. Throws `UsageError`. No error message of the parser repeats an operand, which may
 * be a secret key by mistake.
 */
export function parseKeysCommand(args: readonly string[], nowMs: number): KeysCommand {
  const { values, positionals } = parseArguments(args)
  const [name = '', ...operands] = positionals
  const allowed = ALLOWED_OPTIONS.get(name)
  if (allowed === undefined) throw new UsageError('the command must be create, list or revoke')
  const unknownOption = Object.keys(values).find((option) => !allowed.some((allowedOption) => allowedOption === option))
  if (unknownOption !== undefined) throw new UsageError(`${name} takes no --${unknownOption}`)
  if (name === 'revoke') return revokeCommand(operands, values.json === true)
  if (operands.length > 0) throw new UsageError(`${name} takes only options`)
  return name === 'create' ? createCommand(values, nowMs) : listCommand(values)
}

function parseArguments(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true })
  } catch {
    throw new UsageError('an option is unknown or has no value')
  }
}

function createCommand(options: Options, nowMs: number): KeysCommand {
  const { project, label = '', json } = options
  if (typeof project !== 'string' || !isProjectName(project)) {
    throw new UsageError('--project must have 1 to 64 of the characters A-Z a-z 0-9 . _ -')
  }
  if (typeof label !== 'string' || !/^[^\p{Cc}]{0,200}$/u.test(label)) {
    throw new UsageError('--label must be one line of at most 200 characters')
  }
  const scopes = parseScopes(options.scopes)
  const expiresMs = parseExpiry(options.expires, nowMs)
  const limits = parseLimits(options.limits)
  return {
    async run(store) {
      const key = newKey()
      const row: ApiKeyRow = {
        hash: hashKey(key),
        project,
        scopes,
        label,
        createdMs: nowMs,
        ...(expiresMs !== undefined && { expiresMs }),
        ...(limits !== undefined && { limits }),
      }
      await store.saveKey(row)
      if (json === true) return JSON.stringify({ key, ...displayFieldsOf(row, nowMs) })
      return `${key}\n\nThis key is shown only once. ${describeKey(row)}`
    },
  }
}

function listCommand({ project, json }: Options): KeysCommand {
  return {
    async run(store, nowMs) {
      const rows = (await store.listKeys())
        .filter((row) => project === undefined || row.project === project)
        .sort((a, b) => a.createdMs - b.createdMs || (a.hash < b.hash ? -1 : 1))
        .map((row) => displayFieldsOf(row, nowMs))
      if (json === true) return JSON.stringify(rows)
      if (rows.length === 0) return 'There are no keys.'
      const cells = rows.map((row) => [
        row.id,
        row.state,
        row.project,
        row.scopes.join('+'),
        row.limits || '-',
        row.created,
        row.expires ?? '-',
        row.label,
      ])
      return formatTable(['ID', 'STATE', 'PROJECT', 'SCOPES', 'LIMITS', 'CREATED', 'EXPIRES', 'LABEL'], cells)
    },
  }
}

function revokeCommand(ids: readonly string[], json: boolean): KeysCommand {
  if (ids.length === 0) throw new UsageError('revoke takes the ids of keys')
  // The error message does not repeat the operand, which may be a secret key by mistake.
  if (!ids.every((id) => /^[0-9a-f]{8,64}$/.test(id))) throw new UsageError('an id has 8 to 64 hexadecimal digits')
  return {
    async run(store, nowMs) {
      const rows = await store.listKeys()
      const matchingRows = ids.map((id) => {
        const [row, ...others] = rows.filter(({ hash }) => hash.startsWith(id))
        if (row === undefined) throw new UsageError(`no key has the id ${id}; nothing was revoked`)
        if (others.length > 0) throw new UsageError(`several keys have ids that begin with ${id}; nothing was revoked`)
        return row
      })
      const revoked = matchingRows.map((row) => ({ ...row, revokedMs: row.revokedMs ?? nowMs }))
      for (const row of revoked) await store.saveKey(row)
      if (json) return JSON.stringify(revoked.map((row) => displayFieldsOf(row, nowMs)))
      return revoked.map((row) => `Revoked. ${describeKey(row)}`).join('\n')
    },
  }
}

function parseScopes(text: string | boolean | undefined): ApiKeyRow['scopes'] {
  if (typeof text !== 'string') return ['ingest', 'query']
  const names = text.split(/[,+]/).map((name) => name.trim())
  const scopes = SCOPES.filter((scope) => names.includes(scope))
  if (!names.every(isScope)) throw new UsageError(`--scopes must be some of ${SCOPES.join(', ')}`)
  return scopes
}

function parseExpiry(text: string | boolean | undefined, nowMs: number): number | undefined {
  if (typeof text !== 'string') return undefined
  const durationMs = parseDuration(text)
  const expiresMs = durationMs === undefined ? parseInstantText(text) : nowMs + durationMs
  if (expiresMs === undefined) throw new UsageError('--expires must be a duration such as 90d, or an instant')
  if (expiresMs <= nowMs) throw new UsageError('--expires must be in the future')
  return expiresMs
}

function parseLimits(text: string | boolean | undefined): ApiKeyRow['limits'] {
  if (typeof text !== 'string') return undefined
  try {
    return parseRateLimits(text)
  } catch (error) {
    throw new UsageError(`--limits ${error instanceof Error ? error.message : String(error)}`)
  }
}

/**
 * Length of a key id, which is the beginning of the key's hash: 48 bits, so two keys hardly ever have the same id. An
 * id does not help to find a key, which has 192 random bits.
 */
const KEY_ID_CHARS = 12

function displayFieldsOf(row: ApiKeyRow, nowMs: number) {
  const { hash, project, scopes, label, createdMs, expiresMs, revokedMs, limits = {} } = row
  const state =
    revokedMs !== undefined ? 'revoked' : expiresMs !== undefined && expiresMs <= nowMs ? 'expired' : 'active'
  return {
    id: hash.slice(0, KEY_ID_CHARS),
    state,
    project,
    scopes,
    limits: formatRateLimits(limits),
    created: formatInstant(createdMs),
    expires: expiresMs === undefined ? null : formatInstant(expiresMs),
    label,
  }
}

function describeKey({ hash, project, scopes, expiresMs, limits }: ApiKeyRow): string {
  const expiryText = expiresMs === undefined ? '' : `, until ${formatInstant(expiresMs)}`
  const limitsText = limits === undefined ? '' : `, limits ${formatRateLimits(limits)}`
  return `id ${hash.slice(0, KEY_ID_CHARS)}, project ${project}, scopes ${scopes.join('+')}${limitsText}${expiryText}`
}

function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)))
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
