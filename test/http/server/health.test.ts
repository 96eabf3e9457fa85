import { describe, expect, it } from 'vitest'
import { createFakeServer, errorOf } from '../../support/fake-server.ts'

describe('health', () => {
  it('reports without a key that the process runs, even when the store is down', async () => {
    const { app } = createFakeServer({ before: () => Promise.reject(new Error('away')) })
    const response = await app.inject('/health')
    expect([response.statusCode, response.body]).toEqual([200, '{"status":"ok"}'])
  })

  it('is ready when the store responds', async () => {
    const response = await createFakeServer().app.inject('/ready')
    expect([response.statusCode, response.body]).toEqual([200, '{"status":"ready"}'])
  })

  it('is not ready during shutdown', async () => {
    const { app } = createFakeServer({}, {}, { isDraining: () => true })
    expect((await app.inject('/ready')).statusCode).toBe(503)
    expect((await app.inject('/health')).statusCode).toBe(200)
  })

  it.each([
    ['fails', () => Promise.reject(new Error('secret address'))],
    ['stays silent', () => new Promise<void>(() => {})],
  ])('is not ready when the store %s', async (_case, before) => {
    const response = await createFakeServer({ before }, { readyWaitMs: 5 }).app.inject('/ready')
    expect([response.statusCode, errorOf(response).code]).toEqual([503, 'store_unavailable'])
    expect(response.headers['retry-after']).toBe('5')
    expect(response.body).not.toContain('secret')
  })
})
