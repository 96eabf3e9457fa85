import { describe, expect, it, onTestFinished } from 'vitest'
import { type ChildGateway, runChild, startChild } from '../support/child-gateway.ts'
import { snappyLiterals, writeRequestV1 } from '../support/remote-write.ts'

/** Keys made and revoked by the command while a gateway runs on the store. */
export function describeKeys(name: string, storeOf: () => Promise<Readonly<Record<string, string>>>): void {
  const setUp = async () => {
    const env = { ...(await storeOf()), LOG_LEVEL: 'trace', PORT: '0' }
    const started: ChildGateway[] = []
    const start = async (): Promise<ChildGateway> => {
      const child = await startChild(env)
      onTestFinished(() => {
        child.process.kill('SIGKILL')
      })
      started.push(child)
      return child
    }
    /** What the command printed. */
    const keys = async (line: string): Promise<string> => {
      const { code, output, errors } = await runChild(env, ['keys', ...line.split(' ')])
      expect({ code, errors }).toEqual({ code: 0, errors: '' })
      return output
    }
    const create = async (options: string): Promise<{ key: string; id: string }> =>
      JSON.parse(await keys(`create ${options} --json`))
    return { start, keys, create }
  }
  const statusOf = async ({ url }: ChildGateway, key: string, path = '/api/v1/metrics'): Promise<number> => {
    const response = await fetch(url + path, { headers: { authorization: `Bearer ${key}` } })
    await response.arrayBuffer()
    return response.status
  }

  /** The statuses of the doors of other systems: OTLP, remote write. */
  const statusesOfDoors = ({ url }: ChildGateway, key: string): Promise<number[]> =>
    Promise.all(
      [
        ['/v1/metrics', 'application/json', '{}'],
        ['/api/v1/write', 'application/x-protobuf', Uint8Array.from(snappyLiterals(writeRequestV1([])))],
      ].map(async ([path, type, body]) => {
        const headers = { authorization: `Bearer ${key}`, 'content-type': String(type) }
        const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: body! })
        await response.arrayBuffer()
        return response.status
      }),
    )

  describe(`${name}: keys`, () => {
    it('created before the first start work, and no first key is created', async () => {
      const { start, create } = await setUp()
      const { key } = await create('--project shop')
      const gateway = await start()
      expect(gateway.output()).not.toContain('gq_')
      expect(await statusOf(gateway, key)).toBe(200)
    })

    it('created and revoked while a gateway runs take effect within seconds, and are never logged', async () => {
      const { start, keys, create } = await setUp()
      const gateway = await start()
      const reader = await create('--project shop --scopes query --label reading')
      const writer = await create('--project shop --scopes ingest')
      expect([await statusOf(gateway, reader.key), await statusOf(gateway, writer.key)]).toEqual([200, 403])
      expect(await keys('list')).toMatch(new RegExp(`^${reader.id} +active +shop +query .*reading$`, 'm'))
      await keys(`revoke ${reader.id}`)
      await expect.poll(() => statusOf(gateway, reader.key), { timeout: 10_000, interval: 250 }).toBe(401)
      expect(await statusOf(gateway, writer.key)).toBe(403)
      expect(await statusesOfDoors(gateway, writer.key)).toEqual([200, 204])
      // Whatever goes wrong with a key in it.
      for (const { key } of [reader, writer]) {
        await statusOf(gateway, key, `/api/v1/metrics/n/query?key=${key}&from=${key}`)
        await statusOf(gateway, key, `/nothing?${key}`)
        await fetch(`${gateway.url}/graphql`, { method: 'POST', headers: { 'x-api-key': key }, body: key })
        await fetch(`${gateway.url}/api/v1/metrics`, { method: 'POST', headers: { 'x-api-key': key }, body: key })
      }
      await keys(`revoke ${writer.id}`)
      await expect
        .poll(() => statusesOfDoors(gateway, writer.key), { timeout: 10_000, interval: 250 })
        .toEqual([401, 401])
      const { code, output, errors } = await gateway.kill('SIGTERM')
      expect(code).toBe(0)
      expect(output).toContain('"path":"/nothing"')
      for (const { key } of [reader, writer]) expect(output + errors).not.toContain(key)
    })
  })
}
