import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { hashKey } from '../../src/access/api-keys.ts'
import { readConfig, usesRedis } from '../../src/config/config.ts'
import { ALL_SETTINGS } from '../../src/config/settings/all-settings.ts'
import { HOUR_MS, MINUTE_MS } from '../../src/model/time.ts'

describe('readConfig', () => {
  it('reads an empty environment as the defaults', () => {
    const config = readConfig({})
    expect(config.http).toMatchObject({ port: 4_000, isPortFixed: false, host: '127.0.0.1' })
    expect(config.store.folder).toBe('./data')
    expect(config.store.resolutions[0]).toEqual({ bucketWidthMs: 10_000, keptMs: 6 * HOUR_MS })
    expect(config.store.resolutions).toHaveLength(5)
    expect(config.access.apiKeys.size).toBe(0)
    expect(usesRedis(config)).toBe(false)
  })

  it.each(ALL_SETTINGS.map((setting) => [setting.name, setting] as const))(
    'reads the default of %s as if it had been set',
    (name, setting) => {
      const defaults = readConfig({})
      const http = { ...defaults.http, isPortFixed: name === 'PORT' }
      expect(readConfig({ [name]: setting.default })).toEqual({ ...defaults, http })
      expect(readConfig({ [name]: '  ' })).toEqual(defaults)
      expect(setting.unit).not.toBe('')
      expect(setting.meaning).toMatch(/\.$/)
    },
  )

  it('refuses to enforce registered operations when there are none', () => {
    expect(() => readConfig({ GRAPHQL_PERSISTED: 'enforced' })).toThrow(/^GRAPHQL_OPERATIONS /)
    const config = readConfig({ GRAPHQL_PERSISTED: 'enforced', GRAPHQL_OPERATIONS: './operations' })
    expect(config.persisted).toEqual({ mode: 'enforced', operations: './operations' })
  })

  it('names each setting once', () => {
    expect(new Set(ALL_SETTINGS.map(({ name }) => name)).size).toBe(ALL_SETTINGS.length)
  })

  it.each(ALL_SETTINGS.filter((setting) => /^\d+$/.test(setting.default)).map(({ name }) => name))(
    'refuses a %s that is no whole number, naming it',
    (name) => {
      for (const value of ['-1', '1.5', 'many', '1e3', '0x10', '10 MB', '99999999999999999999'])
        expect(() => readConfig({ [name]: value })).toThrow(new RegExp(`^${name} must be`))
      if (!['PORT', 'RETAINED_BYTES', 'DRAIN_MS'].includes(name))
        expect(() => readConfig({ [name]: '0' })).toThrow(new RegExp(`^${name} must be`))
    },
  )

  // FOLD_INBOX_AGE_MS is compared with ages and is never the delay of a timer.
  it.each(ALL_SETTINGS.filter(({ unit, name }) => unit === 'ms' && name !== 'FOLD_INBOX_AGE_MS'))(
    'refuses a $name beyond the longest delay of a timer',
    ({ name }) => {
      expect(readConfig({ [name]: '2147483647' })).toBeDefined()
      expect(() => readConfig({ [name]: '2147483648' })).toThrow(new RegExp(`^${name} must be`))
    },
  )

  it('takes each number from the variable of its name', () => {
    const config = readConfig({ PORT: '0', BATCH_ITEMS_MAX: '7', TAGS_MAX: '3', FOLD_INBOX_AGE_MS: '250' })
    expect(config.http).toMatchObject({ port: 0, isPortFixed: true })
    expect(config.limits.batchItemsMax).toBe(7)
    expect(config.points.tagsMax).toBe(3)
    expect(config.fold.inboxAgeMsMax).toBe(250)
  })

  it('ignores variables that it does not know', () => {
    expect(readConfig({ QUERY_WHERE_MAX: 'many', HOME: '/' })).toEqual(readConfig({}))
  })

  it('uses Redis when a URL or nodes of a cluster are given, and only then allows several processes', () => {
    expect(usesRedis(readConfig({ REDIS_URL: 'redis://localhost' }))).toBe(true)
    expect(usesRedis(readConfig({ REDIS_CLUSTER_NODES: 'a:1, b:2', GATEWAY_PROCESSES: '2' }))).toBe(true)
    expect(readConfig({ REDIS_CLUSTER_NODES: 'a:1, b:2' }).redis.clusterNodes).toEqual(['a:1', 'b:2'])
    expect(() => readConfig({ GATEWAY_PROCESSES: '2' })).toThrow(/^GATEWAY_PROCESSES /)
  })

  it.each([
    ['PORT', '65536'],
    ['PARTITIONS', '4097'],
    ['NAME_CHARS_MAX', '451'],
    ['LOG_LEVEL', 'loud'],
    ['EVENT_RETENTION', 'long'],
    ['REDIS_URL', 'http://localhost'],
    ['REDIS_CLUSTER_NODES', 'a:1,b'],
    ['REDIS_PREFIX', 'a b'],
    ['GRAPHQL_INTROSPECTION', 'maybe'],
    ['GRAPHQL_PERSISTED', 'sometimes'],
    ['RATE_LIMITS', 'on'],
    ['RATE_LIMITS', 'batch=0'],
    ['RATE_LIMITS', 'bulk=10'],
    ['TRUST_PROXY', 'on'],
    ['TRUST_PROXY', '101'],
    ['TRUST_PROXY', '10.0.0.0/33'],
    ['TRUST_PROXY', '10.0.0.1,proxy.internal'],
    ['CORS_ORIGINS', 'app.example'],
    ['CORS_ORIGINS', 'https://app.example/'],
    ['CORS_ORIGINS', 'https://app.example:443'],
    ['CORS_ORIGINS', 'https://app.example,*'],
    ['CORS_ORIGINS', 'null'],
    ['RESOLUTIONS', '10s'],
    ['RESOLUTIONS', '10s:6h,'],
    ['RESOLUTIONS', '10s:soon,1m:7d'],
    ['RESOLUTIONS', '1m:6h,10s:7d,1d:5y'],
    ['RESOLUTIONS', '10s:6h,15s:7d,1d:5y'],
    ['RESOLUTIONS', '10s:7d,1m:6h,1d:5y'],
    ['RESOLUTIONS', '10ms:6h,1d:5y'],
    ['RESOLUTIONS', '10s:0s,1d:5y'],
    ['RESOLUTIONS', '10s:6h,70s:7d,1d:5y'],
    ['RESOLUTIONS', '10s:6h,160s:7d,1d:5y'],
    ['RESOLUTIONS', '10s:6h,1m:7d,15m:35d,1h:400d,1d:999999999999y'],
    ['RESOLUTIONS', '10s:6h,1m:7d,15m:35d,1h:400d,1d:11000y'],
    ['EVENT_RETENTION', '11000y'],
    ['EVENT_RETENTION', '999999999999999999999999y'],
    ['SET_RESOLUTIONS', '1m:6h,1h:35d'],
    ['SET_RESOLUTIONS', '1h:35d,1d:1y,7d:5y'],
  ])('refuses %s=%s, naming the variable', (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(new RegExp(`^${name} `))
  })

  it('reads trusted proxies, allowed origins and rate limits', () => {
    const config = readConfig({
      RATE_LIMITS: 'batch=100,query=off',
      TRUST_PROXY: 'loopback, 10.0.0.0/8,2001:db8::1',
      CORS_ORIGINS: 'https://app.example, http://localhost:5173',
    })
    expect(config.access.rateLimits).toEqual({
      single: 1_000,
      batch: 100,
      query: 'off',
      graphql: 600,
      betterstack: 500,
      otlp: 3_000,
      write: 3_000,
    })
    expect(config.http.trustProxy).toEqual(['loopback', '10.0.0.0/8', '2001:db8::1'])
    expect(config.http.corsOrigins).toEqual(['https://app.example', 'http://localhost:5173'])
    expect(readConfig({ TRUST_PROXY: '2', CORS_ORIGINS: '*' }).http).toMatchObject({ trustProxy: 2, corsOrigins: '*' })
    expect(readConfig({ TRUST_PROXY: '0' }).http.trustProxy).toBeUndefined()
  })

  it('reads steps with what they are kept for', () => {
    const { resolutions } = readConfig({ RESOLUTIONS: '30s:1h, 5m:90m, 1h:30d ,1d:2y' }).store
    expect(resolutions).toEqual([
      { bucketWidthMs: 30_000, keptMs: HOUR_MS },
      { bucketWidthMs: 5 * MINUTE_MS, keptMs: 90 * MINUTE_MS },
      { bucketWidthMs: HOUR_MS, keptMs: 30 * 24 * HOUR_MS },
      { bucketWidthMs: 24 * HOUR_MS, keptMs: 730 * 24 * HOUR_MS },
    ])
  })

  it('keeps keys by their hash, with project and scopes', () => {
    const { apiKeys } = readConfig({ API_KEYS: 'secret-one:shop:ingest+query, secret-two:blog:admin' }).access
    expect([...apiKeys]).toEqual([
      [hashKey('secret-one'), { project: 'shop', scopes: ['ingest', 'query'] }],
      [hashKey('secret-two'), { project: 'blog', scopes: ['admin'] }],
    ])
  })

  it.each([
    ['no scopes', 'hush-hush-42:shop'],
    ['an unknown scope', 'hush-hush-42:shop:ingest+root'],
    ['an empty scope', 'hush-hush-42:shop:ingest+'],
    ['no project', 'hush-hush-42'],
    ['a project of odd characters', 'hush-hush-42:my shop:ingest'],
    ['too many parts', 'hush-hush-42:shop:ingest:more'],
    ['a short key', 'hush-42:shop:ingest'],
    ['a trailing comma', 'hush-hush-42:shop:ingest,'],
    ['a key of an earlier row', 'first-key-00:shop:ingest'],
  ])('refuses API_KEYS with %s without repeating a key', (_, row) => {
    let message = ''
    try {
      readConfig({ API_KEYS: `first-key-00:a:query,${row}` })
    } catch (error) {
      message = String(error)
    }
    expect(message).toMatch(/API_KEYS row \d/)
    expect(message).not.toContain('hush')
    expect(message).not.toContain('first-key')
  })
})

describe('docs/configuration.md', () => {
  const settings = ALL_SETTINGS.map((setting) => [setting.name, setting.default, setting.unit, setting.meaning])

  it('has every row of the table of settings, in the same order', () => {
    expect(tableOf('../../docs/configuration.md')).toEqual(settings)
  })

  function tableOf(path: string): string[][] {
    const text = readFileSync(new URL(path, import.meta.url), 'utf8')
    const table = /<!-- settings:begin -->\n([\s\S]*?)<!-- settings:end -->/.exec(text)?.[1] ?? ''
    const [head, rule, ...rows] = table.trim().split('\n').map(cellsOf)
    expect(head).toEqual(['Variable', 'Default', 'Unit', 'Meaning'])
    expect(rule?.every((cell) => /^:?-+:?$/.test(cell))).toBe(true)
    return rows
  }

  /** Without the backquotes of names and values. */
  function cellsOf(line: string): string[] {
    const cells = line.split(/(?<!\\)\|/).slice(1, -1)
    return cells.map((cell) => cell.trim().replaceAll('`', '').replaceAll('\\|', '|'))
  }
})
