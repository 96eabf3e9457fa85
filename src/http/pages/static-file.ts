import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { FastifyReply } from 'fastify'
import { accepts } from '../response/accept.ts'
import { addVary } from '../response/vary.ts'

/**
 * A file that is served from memory. It is compressed once per encoding, on first use. Its hash depends on its content
 * alone, so a cached copy with the same hash is always valid.
 */
export interface StaticFile {
  readonly contentType: string
  readonly hash: string
  /** Returns the content as Brotli if the client accepts it, or else as gzip, or else uncompressed. */
  encodedFor(acceptEncoding: string | undefined): Promise<EncodedContent>
}

export interface EncodedContent {
  readonly encoding: 'br' | 'gzip' | undefined
  readonly body: Buffer
}

export const SCRIPT_TYPE = 'text/javascript; charset=utf-8'
export const STYLE_TYPE = 'text/css; charset=utf-8'
export const SVG_TYPE = 'image/svg+xml'
export const HTML_TYPE = 'text/html; charset=utf-8'

const YEAR_SECONDS = 31_536_000

/** `Cache-Control` for files whose URL contains a hash of the content: browsers need not request them for a year. */
export const IMMUTABLE_CACHE_CONTROL = `public, max-age=${YEAR_SECONDS}, immutable`
/** `Cache-Control` for files that browsers may cache but must revalidate on each use. */
export const REVALIDATED_CACHE_CONTROL = 'no-cache'

export function createStaticFile(contentType: string, content: string | Buffer): StaticFile {
  const bytes = Buffer.from(content)
  const gzipped = loadOnce(() => promisify(gzip)(bytes, { level: 6 }))
  const params = { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
  const brotli = loadOnce(() => promisify(brotliCompress)(bytes, { params }))
  return {
    contentType,
    hash: hashOf([bytes]),
    async encodedFor(acceptEncoding) {
      if (accepts(acceptEncoding, 'br')) return { encoding: 'br', body: await brotli() }
      if (accepts(acceptEncoding, 'gzip')) return { encoding: 'gzip', body: await gzipped() }
      return { encoding: undefined, body: bytes }
    },
  }
}

export async function sendStaticFile(reply: FastifyReply, file: StaticFile, caching: string): Promise<FastifyReply> {
  const { headers } = reply.request
  // A weak ETag is valid for every encoding.
  const etag = `W/"${file.hash}"`
  addVary(reply, ['accept-encoding']).header('etag', etag).header('cache-control', caching)
  if (headers['if-none-match']?.includes(etag) === true) return reply.code(304).send()
  const { encoding, body } = await file.encodedFor(headers['accept-encoding'])
  if (encoding !== undefined) reply.header('content-encoding', encoding)
  return reply.header('content-type', file.contentType).send(body)
}

/** Returns a hash of 22 characters that are safe in URLs. */
export function hashOf(contents: Iterable<string | Buffer>): string {
  const hash = createHash('sha256')
  for (const content of contents) hash.update(content)
  return hash.digest('base64url').slice(0, 22)
}

/**
 * Returns a function that calls `load` at its first call and keeps the result for later calls. After a failure, the
 * next call loads again.
 */
export function loadOnce<T>(load: () => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | undefined
  return () => {
    loaded ??= load().catch((error: unknown) => {
      loaded = undefined
      throw error
    })
    return loaded
  }
}
