import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { type ChildGateway, startChild } from '../support/child-gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { FLUX_ROWS } from './flux.ts'
import { API_KEYS } from './row.ts'
import { describeRows } from './run-rows.ts'

/** Every row of the Flux API against the built gateway in a child process, on each store. */

const NAME = 'the Flux API'

const SETTINGS = { PORT: '0', API_KEYS, SERIES_PER_METRIC_MAX: '5' }

describe('on the embedded store', () => {
  let folder: string | undefined
  let gateway: ChildGateway | undefined
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gaugeql-test-'))
    gateway = await startChild({ ...SETTINGS, DATA_DIR: folder })
  }, 60_000)
  afterAll(async () => {
    await gateway?.kill('SIGTERM')
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })
  describeRows(NAME, FLUX_ROWS, () => gateway!.url)
})

describe('on Redis', () => {
  let redis: RedisServer | undefined
  let gateway: ChildGateway | undefined
  beforeAll(async () => {
    redis = await startRedis({ appendonly: true })
    gateway = await startChild({ ...SETTINGS, REDIS_URL: redis.url })
  }, 60_000)
  afterAll(async () => {
    await gateway?.kill('SIGTERM')
    await redis?.stop()
  })
  describeRows(NAME, FLUX_ROWS, () => gateway!.url)
})
