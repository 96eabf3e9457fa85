import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DCLinter } from 'dclint'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import { readConfig } from '../../src/config/config.ts'
import { ALL_SETTINGS } from '../../src/config/settings/all-settings.ts'
import { openRedisStore } from '../../src/store/redis/redis-store.ts'
import { startRedis } from '../support/redis-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/**
 * The compose file, without an engine: it follows the schema of the specification, and what it says of Redis and the
 * gateway works.
 */

const FILE = fileURLToPath(new URL('../../docker-compose.yml', import.meta.url))

interface Compose {
  readonly services: {
    readonly redis: {
      readonly command: readonly string[]
      readonly environment: Readonly<Record<string, string>>
      readonly healthcheck: { readonly test: readonly string[] }
      readonly volumes: readonly string[]
    }
    readonly gateway: {
      readonly environment: Readonly<Record<string, string>>
      readonly depends_on: Readonly<Record<string, object>>
    }
  }
  readonly volumes: object
}

/** `${NAME:-default}` and `${NAME:?why}`, as compose fills them in. */
function fillIn(text: string, environment: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, name: string, kind: string, rest: string) => {
    const value = environment[name] ?? ''
    if (value === '' && kind === '?') throw new Error(`${name}: ${rest}`)
    return value === '' && kind === '-' ? rest : value
  })
}

const text = readFileSync(FILE, 'utf8')
const composeWith = (environment: Readonly<Record<string, string>>): Compose =>
  parse(fillIn(text, environment)) as Compose
const compose = composeWith({ REDIS_PASSWORD: 'secret1' })

interface Finding {
  readonly rule: string
  readonly message: string
}

/** Against the schema of the specification and the linter's rules, but for those about order. */
function findingsOf(file: string): readonly Finding[] {
  const rules = { 'service-keys-order': 0, 'services-alphabetical-order': 0 } as const
  const linter = new DCLinter({ rules, quiet: false, debug: false, exclude: [] })
  const results: readonly { readonly messages: readonly Finding[] }[] = linter.lintFiles([file], false)
  return results.flatMap(({ messages }) => messages.map(({ rule, message }) => ({ rule, message })))
}

test('it follows the schema of the compose specification', async () => {
  expect(findingsOf(FILE)).toEqual([])
  const broken = join(await temporaryFolder(), 'docker-compose.yml')
  await writeFile(broken, text.replace('condition: service_healthy', 'condition: healthy'))
  expect(findingsOf(broken)).toEqual([{ rule: 'invalid-schema', message: expect.stringContaining('/depends_on') }])
})

test('it holds no secret and refuses to start without one', () => {
  expect(() => composeWith({})).toThrow(/^REDIS_PASSWORD: /)
  expect(text.match(/PASSWORD(?!\}|:\?|=…)/g)).toEqual(null)
})

test('its Redis keeps what it is given, wants a password, and is healthy once it serves', async () => {
  const { command, environment, healthcheck, volumes } = compose.services.redis
  const [program, ...args] = command
  expect(program).toBe('redis-server')
  const server = await startRedis({ args })
  onTestFinished(() => server.stop())

  const [kind, check] = healthcheck.test
  expect(kind).toBe('CMD-SHELL')
  const isHealthy = (env: Readonly<Record<string, string>>): boolean => {
    const here = check!.replace('redis-cli', `redis-cli -p ${server.port}`)
    return spawnSync('sh', ['-c', here], { env: { PATH: process.env['PATH'] ?? '', ...env } }).status === 0
  }
  expect(isHealthy(environment)).toBe(true)
  expect(isHealthy({})).toBe(false)

  const url = `redis://:secret1@127.0.0.1:${server.port}`
  const client = new Redis(url)
  onTestFinished(() => client.disconnect())
  const settings = await client.config('GET', 'maxmemory*', 'append*', 'save', 'dir')
  expect(Object.fromEntries(pairsOf(settings as string[]))).toMatchObject({
    appendonly: 'yes',
    appendfsync: 'everysec',
    save: '',
    maxmemory: String(2 * 1024 ** 3),
    'maxmemory-policy': 'noeviction',
  })
  expect(volumes).toEqual(['redis-data:/data'])
  expect(compose.volumes).toHaveProperty('redis-data')

  const warnings: string[] = []
  const store = await openRedisStore({
    ...{ url, prefix: 'gq', partitions: 8, resolutions: [], setResolutions: [] },
    log: { warn: (_, message) => warnings.push(message) },
  })
  await store.close()
  expect(warnings).toEqual([])
})

function pairsOf(list: readonly string[]): (readonly [string, string])[] {
  return Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i]!, list[2 * i + 1]!] as const)
}

test('its gateway waits for a healthy Redis, and its settings can be used', () => {
  const { environment, depends_on } = compose.services.gateway
  expect(depends_on).toEqual({ redis: { condition: 'service_healthy' } })
  const names = new Set<string>(ALL_SETTINGS.map(({ name }) => name))
  expect(Object.keys(environment).filter((name) => !names.has(name))).toEqual([])
  const config = readConfig(
    Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value ?? '')])),
  )
  expect(config.redis.url).toBe('redis://:secret1@redis:6379/0')
  expect(config.process.processes).toBe(1)
})
