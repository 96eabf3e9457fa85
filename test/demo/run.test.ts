import { readdirSync } from 'node:fs'
import { expect, it, onTestFinished } from 'vitest'
import { startDemo } from '../support/child-gateway.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

it('starts a gateway, sends to it with the key it shows, and leaves nothing behind', async () => {
  const folder = await temporaryFolder()
  const demo = await startDemo({ PORT: '0', TMPDIR: folder })
  onTestFinished(() => {
    demo.process.kill('SIGKILL')
  })
  const key = await demo.shown(/API key\s+(\S+)/)
  expect(readdirSync(folder)).toHaveLength(1)
  await demo.shown(/(The last 24 hours .* stored): /)

  const asked = await fetch(
    `${demo.url}/api/v1/metrics/api.response_time/query?from=-24h&interval=1h&aggregation=count`,
    { headers: { authorization: `Bearer ${key}` } },
  )
  const { data }: { data: { series: { value: number }[] } } = JSON.parse(await asked.text())
  expect(data.series.length).toBeGreaterThanOrEqual(24)
  const metric = await fetch(`${demo.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query: '{ metric(name: "api.response_time") { unit description } }' }),
  })
  expect(await metric.json()).toEqual({
    data: { metric: { unit: 'ms', description: 'Time to serve one request' } },
  })

  // In the middle of its import.
  const { code, errors } = await demo.kill('SIGINT')
  expect({ code, errors }).toEqual({ code: 0, errors: '' })
  expect(readdirSync(folder)).toEqual([])
})
