import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createFakeServer, errorOf } from '../../support/fake-server.ts'

const MODULE = 'export const answer = 42\n'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-test-'))
  await writeFile(join(folder, 'tracker.js'), MODULE)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const serve = () => createFakeServer({}, {}, { clientFolder: pathToFileURL(`${folder}/`) }).app

describe('the modules for browsers', () => {
  it('may be imported by pages of every origin, without a key', async () => {
    const { statusCode, headers, body } = await serve().inject({
      url: '/client/tracker.js',
      headers: { origin: 'https://shop.example' },
    })
    expect([statusCode, body]).toEqual([200, MODULE])
    expect(headers).toMatchObject({
      'content-type': 'text/javascript; charset=utf-8',
      'access-control-allow-origin': '*',
      'cache-control': 'public, max-age=3600',
    })
    expect(headers).not.toHaveProperty('content-encoding')
  })

  it.each([
    ['gzip', 'gzip', gunzipSync],
    ['br, GZIP;q=0.8', 'br', brotliDecompressSync],
    ['gzip; q=0.0, br', 'br', brotliDecompressSync],
    ['br;q=0, gzip', 'gzip', gunzipSync],
    ['gzip;q=0', undefined, (bytes: Buffer) => bytes],
  ] as const)('are compressed for clients that accept it: %s', async (accepted, encoding, decompress) => {
    const response = await serve().inject({ url: '/client/tracker.js', headers: { 'accept-encoding': accepted } })
    expect(response.headers['content-encoding']).toBe(encoding)
    expect(response.headers['vary']).toContain('accept-encoding')
    expect(decompress(response.rawPayload).toString()).toBe(MODULE)
  })

  it('are not sent again to a browser that has them', async () => {
    const app = serve()
    const { headers } = await app.inject('/client/tracker.js')
    const again = await app.inject({ url: '/client/tracker.js', headers: { 'if-none-match': String(headers['etag']) } })
    expect([again.statusCode, again.body]).toEqual([304, ''])
    const other = await app.inject({ url: '/client/tracker.js', headers: { 'if-none-match': 'W/"older"' } })
    expect(other.statusCode).toBe(200)
  })

  it('are named when they were not built, and served once they are', async () => {
    const app = serve()
    const missing = await app.inject('/client/live.js')
    expect([missing.statusCode, errorOf(missing)]).toEqual([
      404,
      { code: 'not_found', message: 'the module was not built; run npm run build' },
    ])
    await writeFile(join(folder, 'live.js'), MODULE)
    expect((await app.inject('/client/live.js')).statusCode).toBe(200)
  })
})
