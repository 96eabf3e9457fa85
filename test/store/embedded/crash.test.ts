import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { metricIdOf } from '../../../src/model/metric.ts'
import { type CanonicalTags, seriesIdOf } from '../../../src/model/series.ts'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import type { EnvironmentOptions } from '../../../src/store/embedded/environment.ts'
import { lockFolder } from '../../../src/store/embedded/lock.ts'
import type { Store } from '../../../src/store/store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

/** Real processes that die: the store is compiled once, for Node runs no TypeScript in a child. */
const repository = resolve(import.meta.dirname, '../../..')
let compiled: string

const WRITER = '00112233445566778899aabbccddeeff'
const METRIC = { project: 'shop', name: 'm', type: 'gauge' }
const SHAPE = {
  partitions: 1,
  resolutions: [{ bucketWidthMs: 10_000, keptMs: 1 }],
  setResolutions: [{ bucketWidthMs: 60_000, keptMs: 1 }],
}

/** Number of series that each commit of a child adds. */
const SERIES_PER_COMMIT = 30

/**
 * Appends one block with new series after the other and prints each number once it is acknowledged; a refused one again
 * and again.
 */
const APPENDING = `
import { openEmbeddedStore } from './out/store/embedded/embedded-store.js'
import { metricIdOf } from './out/model/metric.js'
import { seriesIdOf } from './out/model/series.js'
import { setTimeout } from 'node:timers/promises'
const [folder, bytes, environment] = process.argv.slice(2)
const store = await openEmbeddedStore({ folder, ...${JSON.stringify(SHAPE)}, environment: JSON.parse(environment) })
const definition = ${JSON.stringify(METRIC)}
const metricId = metricIdOf('shop', 'm', 1)
const [last] = await store.readWatermarks('${WRITER}', [0])
console.log('open')
for (let number = last + 1; ; ) {
  const block = { name: 'block-' + number, scalars: new Uint8Array(Number(bytes)).fill(number), sketches: undefined }
  const metrics = [{ metricId, generation: 1, definition, points: 1, firstMs: number, lastMs: number, cumulative: false }]
  const series = Array.from({ length: ${SERIES_PER_COMMIT} }, (_, i) => {
    const tags = [['host', number + '-' + i]]
    return { metricId, seriesId: seriesIdOf(metricId, tags), tags }
  })
  const parts = [{ block, metrics, series, members: [], events: [], nowMs: number }]
  try {
    await store.append([{ partition: 0, writer: '${WRITER}', commitNumber: number, parts }])
    console.log(number++)
  } catch (error) {
    const row = await store.readMetric('shop', 'm')
    console.log(error.code + ' after ' + row.points)
    await setTimeout(20)
  }
}
`

const LISTENING = `
import { createServer } from 'node:net'
createServer().listen(process.argv[2], () => console.log('open'))
`

beforeAll(async () => {
  compiled = await mkdtemp(join(tmpdir(), 'gaugeql-compiled-'))
  await writeFile(join(compiled, 'package.json'), '{ "type": "module" }')
  await symlink(join(repository, 'node_modules'), join(compiled, 'node_modules'))
  await writeFile(
    join(compiled, 'tsconfig.json'),
    JSON.stringify({
      extends: join(repository, 'tsconfig.build.json'),
      compilerOptions: {
        rootDir: join(repository, 'src'),
        outDir: join(compiled, 'out'),
        typeRoots: [join(repository, 'node_modules/@types')],
      },
      files: [join(repository, 'src/store/embedded/embedded-store.ts')],
      include: [],
    }),
  )
  await promisify(execFile)(join(repository, 'node_modules/.bin/tsc'), ['-p', compiled])
  await writeFile(join(compiled, 'appending.js'), APPENDING)
  await writeFile(join(compiled, 'listening.js'), LISTENING)
}, 60_000)

afterAll(() => rm(compiled, { recursive: true, force: true }))

interface Child {
  readonly process: ChildProcess
  /** The next line it prints. */
  line(): Promise<string>
  kill(): Promise<void>
}

function start(command: string, args: readonly string[]): Child {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const exited = once(child, 'exit')
  async function kill(): Promise<void> {
    child.kill('SIGKILL')
    await exited
  }
  onTestFinished(kill)
  return {
    process: child,
    kill,
    async line() {
      const { value, done } = await lines.next()
      if (done) throw new Error('the child has ended')
      return value
    },
  }
}

function startAppending(folder: string, bytes: number, environment: EnvironmentOptions = {}): Child {
  return start(process.execPath, [join(compiled, 'appending.js'), folder, String(bytes), JSON.stringify(environment)])
}

async function openFor(folder: string): Promise<Store> {
  const store = await openEmbeddedStore({ folder, ...SHAPE })
  onTestFinished(() => store.close())
  return store
}

/** Kills it when it has acknowledged this many commits, and returns how many it has. */
async function killAfter(child: Child, commits: number): Promise<number> {
  let acknowledged = 0
  while (acknowledged < commits) acknowledged = Number(await child.line())
  await child.kill()
  // What it printed before it died but nobody has read yet was acknowledged too.
  for (;;) {
    const line = await child.line().catch(() => undefined)
    if (line === undefined) return acknowledged
    acknowledged = Number(line)
  }
}

/** Everything of each commit up to the watermark is there, which is at least `acknowledged`. */
async function expectWhole(store: Store, acknowledged: number, bytes: number): Promise<void> {
  const [watermark] = await store.readWatermarks(WRITER, [0])
  expect(watermark).toBeGreaterThanOrEqual(acknowledged)
  const inbox = await store.readInbox(0, 1e9)
  expect(inbox.map(({ block }) => block)).toEqual(Array.from({ length: watermark! }, (_, i) => `block-${i + 1}`))
  const blocks = await store.readBlocks(
    0,
    inbox.map(({ block }) => block),
    'scalars',
  )
  const isWrong = (block: Uint8Array | undefined, i: number): boolean =>
    block === undefined || Buffer.compare(block, new Uint8Array(bytes).fill(i + 1)) !== 0
  expect(blocks.findIndex(isWrong)).toBe(-1)
  expect(await store.readMetric('shop', 'm')).toMatchObject({
    points: watermark,
    lastSeenMs: watermark,
    seriesCount: watermark! * SERIES_PER_COMMIT,
  })
  const metricId = metricIdOf('shop', 'm', 1)
  const tags = Array.from({ length: watermark! * SERIES_PER_COMMIT }, (_, i): CanonicalTags => {
    return [['host', `${Math.floor(i / SERIES_PER_COMMIT) + 1}-${i % SERIES_PER_COMMIT}`]]
  })
  const series = tags.map((each) => ({ seriesId: seriesIdOf(metricId, each), tags: each }))
  expect(await store.readSeries(0, metricId, 0, 1e9)).toEqual(series)
  const areKnown = await store.hasSeries(
    0,
    metricId,
    series.map(({ seriesId }) => seriesId),
  )
  expect(areKnown.indexOf(false)).toBe(-1)
}

describe('a process that holds a folder', () => {
  test('keeps others out until it is killed, and then nothing it acknowledged is lost', async () => {
    const folder = await temporaryFolder()
    const child = startAppending(folder, 5_000)
    expect(await child.line()).toBe('open')
    await expect(openEmbeddedStore({ folder, ...SHAPE })).rejects.toThrow(`${folder} is in use by another gateway`)
    const acknowledged = await killAfter(child, 50)
    await expectWhole(await openFor(folder), acknowledged, 5_000)
  })

  test('loses nothing either when it is killed again and again in its checkpoints', async () => {
    const folder = await temporaryFolder()
    let acknowledged = 0
    for (const commits of [1, 7, 23, 12, 31]) {
      // Every few commits fill the layer in memory.
      const child = startAppending(folder, 5_000, { layerBytesMax: 20_000 })
      expect(await child.line()).toBe('open')
      acknowledged = await killAfter(child, acknowledged + commits)
    }
    await expectWhole(await openFor(folder), acknowledged, 5_000)
  }, 90_000)

  test.skipIf(process.platform !== 'linux')(
    'rejects with store_unavailable while the disk is full, still reads, and writes again when there is room',
    async () => {
      const folder = await temporaryFolder()
      // A limit on the size of files stands for a full disk, in units of 1,024 bytes.
      const command = 'ulimit -S -f 2000; exec "$0" "$@"'
      const child = start('bash', [
        '-c',
        command,
        process.execPath,
        join(compiled, 'appending.js'),
        folder,
        '20000',
        '{}',
      ])
      expect(await child.line()).toBe('open')
      let acknowledged = 0
      let line = await child.line()
      for (; /^\d+$/.test(line); line = await child.line()) acknowledged = Number(line)
      expect(acknowledged).toBeGreaterThan(10)
      for (let i = 0; i < 3; i++, line = await child.line()) {
        expect(line).toBe(`store_unavailable after ${acknowledged}`)
      }
      await promisify(execFile)('prlimit', ['--pid', String(child.process.pid), '--fsize=unlimited'])
      const full = acknowledged
      for (; acknowledged < full + 10; line = await child.line()) if (/^\d+$/.test(line)) acknowledged = Number(line)
      await child.kill()
      await expectWhole(await openFor(folder), acknowledged, 20_000)
    },
    90_000,
  )
})

describe('the lock of a folder, where sockets have files', () => {
  const asFile = { isAbstractSocket: false }

  test('is held by one at a time', async () => {
    const folder = await temporaryFolder()
    const lock = await lockFolder(folder, asFile)
    await expect(lockFolder(folder, asFile)).rejects.toThrow(`${folder} is in use by another gateway`)
    await lock.release()
    await (await lockFolder(folder, asFile)).release()
  })

  test('is free when its holder was killed', async () => {
    const folder = await temporaryFolder()
    const child = start(process.execPath, [join(compiled, 'listening.js'), join(folder, 'lock.sock')])
    expect(await child.line()).toBe('open')
    await expect(lockFolder(folder, asFile)).rejects.toThrow('in use')
    await child.kill()
    await (await lockFolder(folder, asFile)).release()
  })
})
