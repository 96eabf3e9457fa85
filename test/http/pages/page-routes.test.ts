import { brotliDecompressSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { createFakeServer } from '../../support/fake-server.ts'

const BROWSER = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }
/** A page shows its first paint with less on a cold cache. */
const FIRST_PAINT_BYTES_MAX = 150_000

/** Requests carry no key. */
function browse(url: string, headers: Record<string, string> = {}) {
  return createFakeServer().app.inject({ method: 'GET', url, headers })
}

function addressesOf(html: string): string[] {
  return [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]!)
}

it('the root sends browsers to the explorer, and tells other clients where everything is', async () => {
  const sent = await browse('/', BROWSER)
  expect([sent.statusCode, sent.headers.location]).toEqual([302, '/explore'])
  const told = await browse('/', { accept: '*/*' })
  expect([told.statusCode, told.headers.vary]).toEqual([200, 'accept'])
  expect((await browse('/', { accept: 'text/html;q=0, application/json' })).statusCode).toBe(200)
  const { name, version, links } = told.json()
  expect([name, version]).toEqual(['gaugeql', expect.stringMatching(/^\d+\.\d+\.\d+/)])
  for (const address of [links.explorer, links.openapi, links.health, links.ready, links.metrics]) {
    expect((await browse(address)).statusCode, address).toBe(200)
  }
  expect((await browse(links.rest)).statusCode).toBe(401)
})

it('the page of the explorer needs no key, allows no other origin, and is revalidated', async () => {
  const page = await browse('/explore', BROWSER)
  expect([page.statusCode, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
  const policy = String(page.headers['content-security-policy'])
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toMatch(/https?:|\*|unsafe/)
  expect(page.headers['cache-control']).toBe('no-cache')
  expect((await browse('/explore', { 'if-none-match': String(page.headers.etag) })).statusCode).toBe(304)
})

it('everything that the explorer loads is at its address, compressed, small and cached without limit', async () => {
  const server = createFakeServer()
  const load = async (url: string) => {
    const response = await server.app.inject({
      method: 'GET',
      url,
      headers: { 'accept-encoding': 'gzip, deflate, br' },
    })
    expect(response.statusCode, url).toBe(200)
    expect(response.headers['content-encoding'], url).toBe('br')
    return response
  }
  const page = await load('/explore')
  const found = new Set(addressesOf(brotliDecompressSync(page.rawPayload).toString()))
  expect(found.size).toBeGreaterThan(10)
  const named = found.size
  let bytes = page.rawPayload.length
  for (const address of found) {
    const { rawPayload, headers } = await load(address)
    bytes += rawPayload.length
    expect(headers['cache-control']).toContain('immutable')
    const text = brotliDecompressSync(rawPayload).toString()
    for (const [, specifier] of text.matchAll(/\b(?:from|import) ?["']([^"'\s]+)["']/g)) {
      expect(specifier).toMatch(/^(?:\.\.?)?\//)
      found.add(new URL(specifier!, `http://gateway${address}`).pathname)
    }
  }
  // The page names every module, so that browsers need not look for them one after the other.
  expect(found.size).toBe(named)
  expect(bytes).toBeLessThan(FIRST_PAINT_BYTES_MAX)
})

it('a file of another version, and a path outside, are not found', async () => {
  const [address] = addressesOf((await browse('/explore')).body)
  expect((await browse(address!)).statusCode).toBe(200)
  const other = address!.replace(/\/pages\/[^/]+\//, '/pages/another/')
  for (const path of [other, `${address}/..`, address!.replace(/\/styles\/.*/, '/styles/..%2f..%2fmain.js')]) {
    expect([path, (await browse(path)).statusCode]).toEqual([path, 404])
  }
})
