import { isIP } from 'node:net'
import { type Grant, hashKey, isProjectName, isScope } from '../access/api-keys.ts'
import { formatDuration, parseDuration } from '../model/time.ts'
import { SCOPES } from '../store/api-keys.ts'
import { BUCKETS_PER_WINDOW } from '../store/windows.ts'
import type { Resolution } from '../write/fold/fold.ts'

/**
 * The parse functions of settings: they convert the text of a variable to a value, or throw an Error that says what is
 * wrong with the text. Its message continues a sentence that begins with the name of the variable. Parsers of settings
 * with secrets do not repeat the text.
 */

/** The longest delay of a Node.js timer in milliseconds. With a longer delay, a timer fires after 1 ms. */
export const TIMER_MS_MAX = 2_147_483_647

export function wholeNumberParser(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new Error(`must be a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`)
  }
}

/** Parses a whole number of at least 1. */
export const parsePositiveInteger = wholeNumberParser(1, Number.MAX_SAFE_INTEGER)
/** Parses the delay of a timer in milliseconds: at least 1. */
export const parseTimerMs = wholeNumberParser(1, TIMER_MS_MAX)

export function oneOfParser<const T extends string>(values: readonly T[]): (text: string) => T {
  return (text) => {
    const value = values.find((allowed) => allowed === text)
    if (value === undefined) throw new Error(`must be one of ${values.join(', ')}`)
    return value
  }
}

export function parseText(text: string): string {
  return text
}

/** Parses texts separated by commas. Leaves out empty ones. */
export function parseList(text: string): readonly string[] {
  return text
    .split(',')
    .map((element) => element.trim())
    .filter((element) => element !== '')
}

/**
 * Parses resolutions such as `10s:6h,1m:7d`: the width of stored buckets, and how long they are kept. The widths must
 * ascend, and each must be a multiple of the one before. No resolution may be kept for a shorter time than a finer one.
 */
export function parseResolutions(text: string): readonly Resolution[] {
  const resolutions = text.split(',').map(parseResolution)
  for (const [i, { bucketWidthMs, keptMs }] of resolutions.entries()) {
    const finer = resolutions[i - 1]
    if (finer === undefined) continue
    const pair = `${formatDuration(bucketWidthMs)} follows ${formatDuration(finer.bucketWidthMs)}`
    if (bucketWidthMs <= finer.bucketWidthMs || bucketWidthMs % finer.bucketWidthMs !== 0)
      throw new Error(`needs ascending steps, each a multiple of the one before: ${pair}`)
    // The ratio of the two widths must divide the number of buckets in a window. Otherwise a coarse bucket could
    // overlap two windows of the finer resolution, and one of these windows could expire before the other.
    if (BUCKETS_PER_WINDOW % (bucketWidthMs / finer.bucketWidthMs) !== 0)
      throw new Error(`needs steps whose ratio divides ${BUCKETS_PER_WINDOW}: ${pair}`)
    if (keptMs < finer.keptMs)
      throw new Error(
        `keeps ${formatDuration(bucketWidthMs)} shorter than the finer ${formatDuration(finer.bucketWidthMs)}`,
      )
  }
  return resolutions
}

function parseResolution(row: string): Resolution {
  const [step = '', kept = ''] = row.trim().split(':')
  const bucketWidthMs = parseDuration(step)
  const keptMs = parseLongDuration(kept)
  if (bucketWidthMs === undefined || bucketWidthMs < 1_000 || bucketWidthMs % 1_000 !== 0)
    throw new Error(`has a step that is not a whole number of seconds: ${JSON.stringify(row)}`)
  if (keptMs === undefined || keptMs <= 0)
    throw new Error(`does not say how long a step is kept: ${JSON.stringify(row)}`)
  return { bucketWidthMs, keptMs }
}

/** Parses how long data is kept: a duration, or a number of years. Zero is an error. */
export function parseRetentionMs(text: string): number {
  const keptMs = parseLongDuration(text)
  if (keptMs === undefined || keptMs <= 0)
    throw new Error(`must be a duration such as 90d, not ${JSON.stringify(text)}`)
  return keptMs
}

/**
 * Parses a duration, or a number of years of 365 days, to milliseconds. Undefined if the text is neither, or if the
 * duration is longer than `parseDuration` allows.
 */
function parseLongDuration(text: string): number | undefined {
  const years = /^(\d+)y$/.exec(text)?.[1]
  return parseDuration(years === undefined ? text : `${Number(years) * 365}d`)
}

/**
 * Parses a Redis URL; undefined if the text is empty. The message does not repeat the URL, which may hold a password.
 */
export function parseRedisUrl(text: string): string | undefined {
  if (text === '') return undefined
  if (URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol)) return text
  throw new Error('must be a URL that begins with redis:// or rediss://')
}

/** Parses `host:port` of cluster nodes; an empty text means no nodes. */
export function parseClusterNodes(text: string): readonly string[] {
  const nodes = text === '' ? [] : text.split(',').map((node) => node.trim())
  if (!nodes.every((node) => /^.+:\d{1,5}$/.test(node))) throw new Error('must be host:port, comma-separated')
  return nodes
}

export function parseRedisPrefix(text: string): string {
  if (/^[A-Za-z0-9._:-]{1,64}$/.test(text)) return text
  throw new Error('must have 1 to 64 of the characters A-Z a-z 0-9 . _ : -')
}

/** Names of address ranges that Fastify accepts instead of CIDRs. */
const PROXY_NAMES = ['loopback', 'linklocal', 'uniquelocal']
const PROXY_HOPS_MAX = 100

/**
 * Parses which proxies are trusted. Undefined means none, a number means that many hops before the gateway. Otherwise
 * returns addresses, CIDRs and `PROXY_NAMES`.
 */
export function parseTrustProxy(text: string): number | readonly string[] | undefined {
  if (text.toLowerCase() === 'off') return undefined
  if (/^\d+$/.test(text)) {
    const hops = Number(text)
    if (hops > PROXY_HOPS_MAX) throw new Error(`must be at most ${PROXY_HOPS_MAX} hops, off, or addresses`)
    return hops === 0 ? undefined : hops
  }
  const proxies = text.split(',').map((proxy) => proxy.trim())
  for (const proxy of proxies) {
    if (!PROXY_NAMES.includes(proxy) && !isAddressOrCidr(proxy))
      throw new Error(`must be off, hops, or addresses and CIDRs, not ${JSON.stringify(proxy)}`)
  }
  return proxies
}

/** Whether a text is an IP address or a CIDR. */
function isAddressOrCidr(text: string): boolean {
  const [address = '', bits, ...extraFields] = text.split('/')
  const version = isIP(address)
  if (version === 0 || extraFields.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

/** Parses CORS origins. `*`: pages of any origin may call the gateway. Undefined: only its own pages may. */
export function parseOrigins(text: string): readonly string[] | '*' | undefined {
  if (text === '') return undefined
  if (text === '*') return '*'
  const origins = text.split(',').map((origin) => origin.trim())
  for (const origin of origins) {
    // Browsers send an origin in this form: scheme and host, and the port unless it is the default of the scheme.
    if (!URL.canParse(origin) || new URL(origin).origin !== origin)
      throw new Error(`must be * or origins such as https://app.example, not ${JSON.stringify(origin)}`)
  }
  return origins
}

/**
 * Parses API keys. Returns what each key permits, by the hash of the key. An error message names a row by its number,
 * because the row contains a key.
 */
export function parseGrantsByKeyHash(text: string): ReadonlyMap<string, Grant> {
  const grants = new Map<string, Grant>()
  if (text === '') return grants
  for (const [i, row] of text.split(',').entries()) {
    const [key = '', project = '', scopeList = '', ...extraFields] = row.trim().split(':')
    const scopes = scopeList.split('+').filter(isScope)
    if (key.length < 8 || extraFields.length > 0)
      throw new Error(`row ${i + 1} must be key:project:scope+scope with a key of at least 8 characters`)
    if (!isProjectName(project))
      throw new Error(`row ${i + 1} needs a project of 1 to 64 of the characters A-Z a-z 0-9 . _ -`)
    if (scopes.length === 0 || scopes.length !== scopeList.split('+').length)
      throw new Error(`row ${i + 1} needs scopes out of ${SCOPES.join(', ')}`)
    const hash = hashKey(key)
    // Otherwise this row would silently replace the project and scopes of the earlier row.
    if (grants.has(hash)) throw new Error(`row ${i + 1} has the key of an earlier row`)
    grants.set(hash, { project, scopes })
  }
  return grants
}
