import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { browserUrlOf } from '../../src/process/start.ts'
import { type ChildGateway, runChild, startChild } from '../support/child-gateway.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

async function started(env: Readonly<Record<string, string>>): Promise<ChildGateway> {
  const child = await startChild(env)
  onTestFinished(() => {
    child.process.kill('SIGKILL')
  })
  return child
}

/** Undefined: somebody else listens there. */
async function occupy(port: number): Promise<Server | undefined> {
  const server = createServer()
  const listens = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  if (!listens) return undefined
  onTestFinished(() => {
    server.close()
  })
  return server
}

const KEY_SHOWN = /API key\s+(gq_[A-Za-z0-9_-]{32})/

describe('the first start', () => {
  it('prints a key that works, only once; the store has only its hash', async () => {
    const folder = await temporaryFolder()
    const first = await started({ PORT: '0', DATA_DIR: folder })
    const key = KEY_SHOWN.exec(first.output())?.[1]
    expect(key).toBeDefined()
    const asked = await fetch(`${first.url}/api/v1/metrics`, { headers: { authorization: `Bearer ${key}` } })
    expect(asked.status).toBe(200)
    // One click opens the explorer with it.
    expect(first.output()).toContain(`${first.url}/explore#key=${key}\n`)
    expect((await first.kill('SIGTERM')).code).toBe(0)

    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const bytes = readFileSync(join(entry.parentPath, entry.name))
      expect(bytes.includes(key!), `${entry.name} holds the key`).toBe(false)
      expect(bytes.includes(Buffer.from(key!, 'utf16le')), `${entry.name} holds the key`).toBe(false)
    }

    const second = await started({ PORT: '0', DATA_DIR: folder })
    expect(second.output()).not.toContain('gq_')
    const again = await fetch(`${second.url}/api/v1/metrics`, { headers: { 'x-api-key': key! } })
    expect(again.status).toBe(200)
  })

  it('prints no key when API_KEYS is set', async () => {
    const key = 'given-key-0123456789'
    const child = await started({ PORT: '0', DATA_DIR: await temporaryFolder(), API_KEYS: `${key}:shop:query` })
    expect(child.output()).not.toMatch(KEY_SHOWN)
    expect(child.output()).not.toContain(key)
    const asked = await fetch(`${child.url}/api/v1/metrics`, { headers: { authorization: `Bearer ${key}` } })
    expect(asked.status).toBe(200)
  })

  it('prints example calls that work', async () => {
    const child = await started({ PORT: '0', DATA_DIR: await temporaryFolder() })
    const [send, ask] = child.output().match(/^ {2}curl .*$/gm) ?? []
    expect(send).toContain(`${child.url}/api/v1/metrics `)
    const [, body] = /-d '(.*)'$/.exec(send!)!
    const [, authorization] = /"Authorization: ([^"]*)"/.exec(send!)!
    const headers = { authorization: authorization!, 'content-type': 'application/json' }
    const sent = await fetch(`${child.url}/api/v1/metrics`, { method: 'POST', headers, body: body! })
    expect(sent.status).toBe(201)
    const [, url] = /curl "([^"]*)"/.exec(ask!)!
    const queried = await fetch(url!, { headers })
    expect(await queried.json()).toMatchObject({ data: { series: [{ p50: 145.2, p95: 145.2 }] } })
  })
})

describe('the URL that a gateway prints', () => {
  it.each([
    ['0.0.0.0', '0.0.0.0', 'http://localhost:4000'],
    ['::', '::', 'http://localhost:4000'],
    ['0:0:0:0:0:0:0:0', '::', 'http://localhost:4000'],
    ['127.0.0.1', '127.0.0.1', 'http://127.0.0.1:4000'],
    ['::1', '::1', 'http://[::1]:4000'],
    ['gauges.example', '192.0.2.1', 'http://gauges.example:4000'],
  ])('of HOST %s can be opened', (host, address, url) => {
    expect(browserUrlOf(host, { address, family: '', port: 4000 })).toBe(url)
  })
})

describe('a gateway that cannot start', () => {
  it('reports that another gateway uses its folder', async () => {
    const folder = await temporaryFolder()
    const first = await started({ PORT: '0', DATA_DIR: folder })
    const second = await runChild({ PORT: '0', DATA_DIR: folder })
    expect(second).toMatchObject({ code: 1, output: '' })
    expect(second.errors).toMatch(/^GaugeQL could not start: .*in use by another gateway\n$/)
    expect(second.errors).toContain(folder)
    expect((await fetch(`${first.url}/health`)).status).toBe(200)
  })

  it('names HOST when it is not an address of this machine', async () => {
    const run = await runChild({ PORT: '0', DATA_DIR: await temporaryFolder(), HOST: '203.0.113.1' })
    expect(run.code).toBe(1)
    expect(run.errors).toMatch(/^GaugeQL could not start: HOST cannot be used: .*\n$/)
  })

  it('names DATA_DIR when the folder cannot be created', async () => {
    const file = join(await temporaryFolder(), 'file')
    writeFileSync(file, '')
    for (const folder of [file, join(file, 'data')]) {
      const exit = await runChild({ PORT: '0', DATA_DIR: folder })
      expect(exit).toMatchObject({ code: 1, output: '' })
      expect(exit.errors).toMatch(/^GaugeQL could not start: DATA_DIR cannot be used: /)
    }
  })

  it('reports that its folder was created with another number of partitions', async () => {
    const folder = await temporaryFolder()
    const first = await started({ PORT: '0', DATA_DIR: folder, PARTITIONS: '4' })
    await first.kill('SIGTERM')
    const second = await runChild({ PORT: '0', DATA_DIR: folder, PARTITIONS: '8' })
    expect(second).toMatchObject({ code: 1, output: '' })
    expect(second.errors).toMatch(/partitions 4, not 8\n$/)
  })

  it('names a setting that it cannot use and never repeats a key', async () => {
    const exit = await runChild({ API_KEYS: 'hush-hush-42:shop:root', DATA_DIR: await temporaryFolder() })
    expect(exit.code).toBe(1)
    expect(exit.errors).toContain('API_KEYS row 1')
    expect(exit.errors).not.toContain('hush')
  })

  it('reports that its port is in use, and releases its folder', async () => {
    const folder = await temporaryFolder()
    const server = await occupy(0)
    const address = server?.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const exit = await runChild({ PORT: String(port), DATA_DIR: folder })
    expect(exit).toMatchObject({ code: 1, output: '' })
    expect(exit.errors).toMatch(/^GaugeQL could not start: .*in use/)
    expect(exit.errors).toContain(String(port))
    expect(exit.errors.trim().split('\n')).toHaveLength(1)
    await started({ PORT: '0', DATA_DIR: folder })
  })
})

describe('a gateway without a configured port', () => {
  it('takes the next free port when the default is in use', async () => {
    await occupy(4_000)
    const child = await started({ DATA_DIR: await temporaryFolder() })
    const port = Number(new URL(child.url).port)
    expect(port).toBeGreaterThan(4_000)
    expect(port).toBeLessThanOrEqual(4_010)
  })
})
