import { expect, test } from 'vitest'
import { groupSource, isBucketComplete } from '../../../src/graphql/types/group.ts'
import { FakeGateway, NOW_MS } from '../../support/fake-graphql-gateway.ts'

test('a bucket is complete once its end has passed', async () => {
  const gateway = new FakeGateway()
  gateway.define('m', 'gauge')
  const result = await gateway.query('shop', { metric: 'm' })
  const endMs = Float64Array.of(NOW_MS - 1, NOW_MS, NOW_MS + 1)
  expect([0, 1, 2].map((bucket) => isBucketComplete({ ...result, endMs }, bucket))).toEqual([true, true, false])
})

test('a column is computed once and then reused', async () => {
  const gateway = new FakeGateway()
  gateway.define('m', 'gauge')
  const result = await gateway.query('shop', { metric: 'm', fill: 'zero' })
  const source = groupSource(result, result.groups[0]!)
  expect(source.lineOf('last')).toBe(source.lineOf('last'))
  expect(source.lineOf('last')?.values).toEqual([10, 0, 11])
  expect(source.lineOf('p95')).toBeUndefined()
})
