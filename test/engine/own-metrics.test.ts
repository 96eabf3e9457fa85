import { expect, it, onTestFinished } from 'vitest'
import { startGateway } from '../support/gateway.ts'

it('GET /metrics reports about the gateway without a key, and names nothing of a project', async () => {
  const gateway = await startGateway({ env: { API_KEYS: 'secret-key-1234:secret-project:ingest+query' } })
  onTestFinished(() => gateway.close())
  const headers = { authorization: 'Bearer secret-key-1234', 'content-type': 'application/json' }
  const send = async (path: string, body?: string) => {
    const response = await fetch(
      gateway.url + path,
      body === undefined ? { headers } : { method: 'POST', headers, body },
    )
    await response.arrayBuffer()
    return response.status
  }
  const good = '{"name":"secret-metric","type":"gauge","value":1,"tags":{"secret-tag":"secret-value"}}'
  expect(await send('/api/v1/metrics/batch', `[${good},${good},{"name":"secret-bad","type":"gauge"}]`)).toBe(201)
  expect(await send('/api/v1/metrics/secret-metric/query')).toBe(200)
  expect(await send('/api/v1/metrics/secret-none')).toBe(404)
  expect(await send('/secret-path')).toBe(404)
  expect(await send('/graphql', '{"query":"{ metric(name: \\"secret-metric\\") { name } }"}')).toBe(200)

  const response = await fetch(`${gateway.url}/metrics`)
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/plain; version=0.0.4; charset=utf-8',
  ])
  const text = await response.text()
  for (const line of [
    'gaugeql_http_requests_total{route="/api/v1/metrics/batch",method="POST",status="201"} 1',
    'gaugeql_http_requests_total{route="/api/v1/metrics/:name/query",method="GET",status="200"} 1',
    'gaugeql_http_requests_total{route="/api/v1/metrics/:name",method="GET",status="404"} 1',
    'gaugeql_http_requests_total{route="none",method="GET",status="404"} 1',
    'gaugeql_http_requests_total{route="/graphql",method="POST",status="200"} 1',
    'gaugeql_points_total 2',
    'gaugeql_rejected_items_total{code="invalid_value"} 1',
    'gaugeql_commit_seconds_count 1',
    'gaugeql_query_seconds_count 1',
    'gaugeql_fold_backlog_entries 1',
    'gaugeql_lost_points_total 0',
  ])
    expect(text.split('\n')).toContain(line)
  expect(text).not.toContain('secret')
})
