import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { runChild, startChild } from '../../support/child-gateway.ts'
import { freePorts, type RedisServer, startRedis } from '../../support/redis-server.ts'

/**
 * REDIS_URL with all it can hold: TLS, a user of its own, its password, a database. In processes: Node reads whom to
 * trust at its start.
 */

const KEY = 'secured-key-0123456789'
const PASSWORD = 'p@ss/wörd'

let server: RedisServer
let tlsPort: number
let certificate: string

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gaugeql-tls-'))
  const key = join(folder, 'key.pem')
  certificate = join(folder, 'certificate.pem')
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', '/CN=redis', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate],
    ],
    { stdio: 'pipe' },
  )
  ;[tlsPort] = (await freePorts(1)) as [number]
  server = await startRedis({
    appendonly: true,
    args: [
      ...['--tls-port', String(tlsPort), '--tls-auth-clients', 'no'],
      ...['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate],
      ...['--user', 'gateway', 'on', `>${PASSWORD}`, '~gq:*', '&gq:*', '+@all', '--user', 'default', 'off'],
    ],
  })
  return async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
})

const credentials = `gateway:${encodeURIComponent(PASSWORD)}`

test('a gateway stores over TLS, as a user, in a database', async () => {
  const gateway = await startChild({
    PORT: '0',
    API_KEYS: `${KEY}:test:ingest+query`,
    REDIS_URL: `rediss://${credentials}@localhost:${tlsPort}/3`,
    NODE_EXTRA_CA_CERTS: certificate,
  })
  onTestFinished(() => {
    gateway.process.kill('SIGKILL')
  })
  const sent = await fetch(`${gateway.url}/api/v1/metrics`, {
    method: 'POST',
    headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    body: '{"name":"hits","type":"counter","value":2}',
  })
  expect(sent.status).toBe(201)
  const client = new Redis({ port: server.port, username: 'gateway', password: PASSWORD, db: 3 })
  onTestFinished(() => client.disconnect())
  expect(await client.dbsize()).toBeGreaterThan(3)
  await client.select(0)
  expect(await client.dbsize()).toBe(0)
  expect((await gateway.kill('SIGTERM')).code).toBe(0)
})

test.each([
  ['whose certificate is not trusted', `${credentials}@localhost`, /certificate/],
  ['that wants another password', 'gateway:wrong@localhost', /WRONGPASS/],
])('a server %s is refused at once, without the password', async (_, place, reason) => {
  const trusted = reason.source === 'certificate' ? {} : { NODE_EXTRA_CA_CERTS: certificate }
  const exit = await runChild({ PORT: '0', REDIS_URL: `rediss://${place}:${tlsPort}`, ...trusted })
  expect(exit).toMatchObject({ code: 1, output: '' })
  expect(exit.errors).toMatch(reason)
  expect(exit.errors).toContain(`cannot use Redis at rediss://localhost:${tlsPort}: `)
  expect(exit.errors).not.toMatch(/p%40ss|p@ss|wrong/)
})
