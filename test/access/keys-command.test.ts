import { beforeEach, describe, expect, it } from 'vitest'
import { hashKey } from '../../src/access/api-keys.ts'
import { parseKeysCommand, UsageError } from '../../src/access/keys-command.ts'
import { DAY_MS } from '../../src/model/time.ts'
import type { ApiKeyRow } from '../../src/store/api-keys.ts'
import type { ApiKeyStore } from '../../src/store/store.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)

let rows: Map<string, ApiKeyRow>
let store: ApiKeyStore

beforeEach(() => {
  rows = new Map()
  store = {
    async saveKey(row) {
      rows.set(row.hash, row)
    },
    readKey: async (hash) => rows.get(hash),
    listKeys: async () => [...rows.values()],
    close: async () => {},
  }
})

const run = (line: string, nowMs = NOW_MS) =>
  parseKeysCommand(line === '' ? [] : line.split(' '), nowMs).run(store, nowMs)

const KEY = /^(gq_[A-Za-z0-9_-]{32})\n/

describe('create', () => {
  it('creates a key that may ingest and query, and stores only its hash', async () => {
    const output = await run('create --project shop')
    const key = KEY.exec(output)![1]!
    expect([...rows.values()]).toEqual([
      { hash: hashKey(key), project: 'shop', scopes: ['ingest', 'query'], label: '', createdMs: NOW_MS },
    ])
    expect(output).toContain(hashKey(key).slice(0, 12))
  })

  it('takes scopes, a label, limits and an expiry', async () => {
    const line = 'create --project shop --scopes admin+ingest --label web --limits batch=100,query=off --expires 90d'
    await run(line)
    await run('create --project shop --scopes query --expires 2024-02-01')
    expect([...rows.values()]).toMatchObject([
      {
        scopes: ['ingest', 'admin'],
        label: 'web',
        limits: { batch: 100, query: 'off' },
        expiresMs: NOW_MS + 90 * DAY_MS,
      },
      { scopes: ['query'], expiresMs: Date.UTC(2024, 1, 1) },
    ])
  })

  it('prints JSON, with the key once', async () => {
    const created: { key: string } = JSON.parse(await run('create --project shop --json'))
    expect(rows.has(hashKey(created.key))).toBe(true)
    expect(created).toMatchObject({ state: 'active', project: 'shop', scopes: ['ingest', 'query'], expires: null })
  })
})

describe('list', () => {
  it('shows keys in the order of their creation, with their state', async () => {
    expect(await run('list')).toBe('There are no keys.')
    await run('create --project shop --expires 1d --label first', NOW_MS)
    await run('create --project blog --limits batch=5', NOW_MS + 1)
    await run('create --project shop', NOW_MS + 2)
    const ids = [...rows.values()].map(({ hash }) => hash.slice(0, 12))
    await run(`revoke ${ids[2]}`)
    const later = NOW_MS + DAY_MS
    expect((await run('list', later)).split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['ID', 'STATE', 'PROJECT', 'SCOPES', 'LIMITS', 'CREATED', 'EXPIRES', 'LABEL'],
      [ids[0], 'expired', 'shop', 'ingest+query', '-', '2024-01-15T12:00:00Z', '2024-01-16T12:00:00Z', 'first'],
      [ids[1], 'active', 'blog', 'ingest+query', 'batch=5', '2024-01-15T12:00:00.001Z', '-'],
      [ids[2], 'revoked', 'shop', 'ingest+query', '-', '2024-01-15T12:00:00.002Z', '-'],
    ])
    const shop: unknown = JSON.parse(await run('list --project shop --json', later))
    expect(shop).toMatchObject([
      { id: ids[0], state: 'expired' },
      { id: ids[2], state: 'revoked' },
    ])
  })
})

describe('revoke', () => {
  it('revokes all named keys or none', async () => {
    for (let i = 0; i < 3; i++) await run('create --project shop')
    const [first, second, third] = [...rows.keys()]
    await expect(run(`revoke ${first!.slice(0, 12)} 00000000`)).rejects.toThrow('nothing was revoked')
    expect([...rows.values()].filter(({ revokedMs }) => revokedMs !== undefined)).toEqual([])
    await run(`revoke ${first!.slice(0, 12)} ${second}`, NOW_MS + 5)
    await run(`revoke ${first}`, NOW_MS + 9)
    expect([first, second, third].map((hash) => rows.get(hash!)!.revokedMs)).toEqual([
      NOW_MS + 5,
      NOW_MS + 5,
      undefined,
    ])
  })

  it('refuses an id that several keys share', async () => {
    const row = { project: 'shop', scopes: [], label: '', createdMs: 1 }
    for (const end of ['0', '1']) await store.saveKey({ ...row, hash: 'ab'.repeat(31) + end.repeat(2) })
    await expect(run('revoke abababab')).rejects.toThrow('several keys')
  })
})

describe('a wrong command line', () => {
  it.each([
    '',
    'make',
    'constructor',
    'list all',
    'list --scopes query',
    'create',
    'create --project',
    'create --project a/b',
    'create --project shop --scopes root',
    'create --project shop --scopes query,',
    'create --project shop --expires soon',
    'create --project shop --expires 2020-01-01',
    'create --project shop --expires 0s',
    'create --project shop --limits batch=0',
    'create --project shop --label a\tb',
    'create shop --project shop',
    'create --project shop --key mine',
    'revoke',
    'revoke abc',
    'revoke --project shop',
  ])('%j is refused before the store is touched', (line) => {
    expect(() => parseKeysCommand(line === '' ? [] : line.split(' '), NOW_MS)).toThrow(UsageError)
  })

  it('is not repeated in the message, since it may hold a key', () => {
    for (const args of [['revoke', 'gq_hush'], ['create', '--gq_hush'], ['gq_hush'], ['list', 'gq_hush']]) {
      expect(() => parseKeysCommand(args, NOW_MS)).toThrow(/^(?!.*hush)/s)
    }
  })
})
