import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { expect, it, onTestFinished } from 'vitest'
import { type ChildGateway, startChild } from '../support/child-gateway.ts'
import { oddProtobuf } from '../support/odd-protobuf.ts'
import { type OddRequest, oddRequest } from '../support/odd-requests.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const KEY = 'test-key-0123456789'
const THIRDS = [1, 2, 3]
const ROUNDS_OF_THIRD = 140
/** Requests under way together, each on a connection that is kept. */
const TOGETHER = 50
/** Names and caches may grow by some; a third has 7,000 bodies and some bombs of 20 MiB. */
const GROWTH_BYTES_MAX = 8 << 20

const anyOdd = fc.oneof({ weight: 4, arbitrary: oddRequest }, { weight: 1, arbitrary: oddProtobuf })

interface HttpResponse {
  readonly status: number
  readonly body: string
}

it('bodies of any kind get a response, never an internal error, and their memory is freed', async () => {
  const folder = await temporaryFolder()
  const report = fileURLToPath(new URL('../support/report-heap.mjs', import.meta.url))
  const gateway = await startChild({
    PORT: '0',
    DATA_DIR: folder,
    API_KEYS: `${KEY}:test:ingest+query+admin`,
    // Many clients share the address of this test.
    BODIES_BYTES_PER_ADDRESS_MAX: String(256 << 20),
    NODE_OPTIONS: `--import=${report}`,
  })
  const agent = new Agent({ keepAlive: true, maxSockets: TOGETHER })
  onTestFinished(() => {
    agent.destroy()
    gateway.process.kill('SIGKILL')
  })
  const send = (method: string, { path, headers, body }: OddRequest): Promise<HttpResponse> =>
    new Promise((resolve, reject) => {
      const asked = request(`${gateway.url}${path}`, {
        agent,
        method,
        headers: { ...headers, authorization: `Bearer ${KEY}`, 'content-length': body.length },
      })
      asked.once('error', reject)
      asked.once('response', (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part: string) => (text += part))
        response.once('end', () => resolve({ status: response.statusCode ?? 0, body: text }))
        response.once('error', reject)
      })
      asked.end(body)
    })

  const seen = new Map<number, number>()
  const memory: number[] = []
  for (const third of THIRDS) {
    await fc.assert(
      fc.asyncProperty(fc.array(anyOdd, { minLength: TOGETHER, maxLength: TOGETHER }), async (requests) => {
        await Promise.all(
          requests.map(async (odd) => {
            const { status, body } = await send('POST', odd).catch((error: unknown) => ({
              status: 0,
              body: String(error),
            }))
            seen.set(status, (seen.get(status) ?? 0) + 1)
            if (status >= 200 && status < 500) return
            const sent = Buffer.from(odd.body).toString('base64').slice(0, 4_000)
            throw new Error(`${status} ${body} for ${odd.path} ${JSON.stringify(odd.headers)} ${sent}`)
          }),
        )
      }),
      { numRuns: ROUNDS_OF_THIRD, seed: 20_260 + third, endOnFailure: true },
    )
    memory.push(await memoryOf(gateway, third))
  }
  expect(memory[2]! - memory[0]!).toBeLessThan(GROWTH_BYTES_MAX)
  // The bodies are not all refused at the door, nor all taken.
  for (const status of [200, 201, 202, 400, 406, 413, 415])
    expect(seen.get(status), `responses with ${status}`).toBeGreaterThan(10)

  const item = (name: string) => ({ name, kind: 'incremental', counter: { value: 3 } })
  const good: readonly (readonly [string, string, string, Uint8Array | string])[] = [
    ['after.flux', '/api/v1/metrics', 'application/json', '{"name":"after.flux","type":"counter","value":3}'],
    ['after.json', '/metrics', 'application/json', JSON.stringify([item('after.json')])],
    ['after.lines', '/', 'application/x-ndjson', `${JSON.stringify(item('after.lines'))}\n`],
    ['after.packed', '/', 'application/msgpack', encode([item('after.packed')])],
  ]
  for (const [name, path, type, body] of good) {
    const sent = await send('POST', { path, headers: { 'content-type': type }, body: Buffer.from(body) })
    expect(sent.status).toBe(path.startsWith('/api') ? 201 : 202)
    const asked = `/api/v1/metrics/${name}/query?from=-1h&interval=1d&aggregation=sum`
    const response = await send('GET', { path: asked, headers: {}, body: Buffer.alloc(0) })
    const { data } = JSON.parse(response.body) as { data: { series: readonly { readonly value: number | null }[] } }
    expect(data.series.reduce((sum, { value }) => sum + (value ?? 0), 0)).toBe(3)
  }
  expect((await gateway.kill('SIGTERM')).code).toBe(0)
}, 120_000)

/** Bytes that are left when the garbage is collected. */
async function memoryOf(gateway: ChildGateway, report: number): Promise<number> {
  gateway.process.kill('SIGUSR2')
  return Number(await gateway.shown(new RegExp(`memory ${report}: (\\d+)\n`)))
}
