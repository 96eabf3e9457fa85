import { request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { expected, KEYS, type Row, type Step } from './row.ts'

/** Declares one test per row. `url` is called when a test runs. */
export function describeRows(name: string, rows: readonly Row[], url: () => string): void {
  describe(name, () => {
    test.each(rows.map((row) => [row.title, row] as const))('%s', async (_title, row) => {
      for (const step of [...(row.before ?? []), row, ...(row.after ?? [])]) await check(url(), step)
    })
  })
}

async function check(url: string, step: Step): Promise<void> {
  const { send, response, responseHeaders = {} } = step
  const method = send.split(' ')[0]!
  const got = await exchange(url, step)
  const wanted = { send, status: step.status ?? (method === 'POST' ? 201 : 200) }
  expect({ send, status: got.status, ...(got.status === wanted.status ? {} : { body: got.body }) }).toEqual(wanted)
  if (typeof response === 'string') expect(got.body).toBe(response)
  else if (response !== undefined) {
    expect(got.headers['content-type']).toBe('application/json; charset=utf-8')
    expect({ send, body: JSON.parse(got.body) }).toEqual({ send, body: expected(response) })
  }
  for (const [header, value] of Object.entries(responseHeaders)) {
    if (typeof value === 'string') expect([header, got.headers[header]]).toEqual([header, value])
    else expect(`${header}: ${got.headers[header]}`).toMatch(value)
  }
}

interface Got {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** Uses `node:http`, which sends paths and headers unchanged. */
function exchange(url: string, { send, body, as = 'all', headers = {} }: Step): Promise<Got> {
  const space = send.indexOf(' ')
  const bytes =
    body === undefined || body instanceof Uint8Array
      ? body
      : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        hostname,
        port,
        method: send.slice(0, space),
        path: send.slice(space + 1),
        headers: {
          ...(as === 'none' ? {} : { authorization: `Bearer ${KEYS[as]}` }),
          ...(bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.length }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        )
      },
    )
    sent.on('error', reject)
    sent.end(bytes)
  })
}
