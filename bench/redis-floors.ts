import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { CpuMeter } from './cpu.ts'
import { randomNumbers } from './random.ts'
import type { Report } from './report.ts'
import { openStore } from './store.ts'

/** The floors of Redis: the cost of storing points in it directly, without HTTP, JSON, rollups and sketches. */

const BATCHES = 300
const BATCHES_BEFORE = 50
const SERIES = 1_000
/** A raw point is a time and a number. */
const POINT_BYTES = 16

interface Floor {
  readonly name: string
  send(client: Redis, batch: number): Promise<unknown>
}

export async function measureRedisFloors(
  report: Report,
  section: string,
  points: number,
  filter: string,
): Promise<void> {
  const random = randomNumbers(17)
  const floors: readonly Floor[] = [
    {
      name: 'floor: a ZADD a point, pipelined by the batch',
      send(client, batch) {
        const pipeline = client.pipeline()
        for (let i = 0; i < points; i++) {
          const timeMs = Date.now() + i
          pipeline.zadd(`series:${(batch * points + i) % SERIES}`, timeMs, `${timeMs}:${random()}`)
        }
        return pipeline.exec()
      },
    },
    {
      name: 'floor: a SET of a blob a batch',
      send: (client, batch) => client.set(`blob:${batch}`, Buffer.alloc(points * POINT_BYTES, batch % 251)),
    },
  ]
  for (const floor of floors) {
    if (!floor.name.includes(filter)) continue
    const folder = mkdtempSync(join(tmpdir(), 'bench-floor-'))
    const store = await openStore('redis', folder)
    const client = new Redis(store.env['REDIS_URL']!)
    try {
      for (let batch = 0; batch < BATCHES_BEFORE; batch++) await floor.send(client, batch)
      const [ours, server] = [new CpuMeter([process.pid]), new CpuMeter(store.pids)]
      const [oursBefore, serverBefore] = [ours.readMs(), server.readMs()]
      for (let batch = 0; batch < BATCHES; batch++) await floor.send(client, BATCHES_BEFORE + batch)
      const perPoint = (ms: number): number => (ms * 1_000) / (BATCHES * points)
      const [sent, redis] = [perPoint(ours.readMs() - oursBefore), perPoint(server.readMs() - serverBefore)]
      const bytes = (await store.bytes()) / ((BATCHES_BEFORE + BATCHES) * points)
      const note = `${redis.toFixed(2)} µs of it in Redis; ${bytes.toFixed(0)} B/point`
      report.add({ section, name: floor.name, measured: sent + redis, unit: 'µs', note })
    } finally {
      client.disconnect()
      await store.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
