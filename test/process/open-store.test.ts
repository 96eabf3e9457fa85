import { rm } from 'node:fs/promises'
import { type Logger, pino } from 'pino'
import { expect, test } from 'vitest'
import { readConfig } from '../../src/config/config.ts'
import { openStore } from '../../src/process/open-store.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

test('the embedded store logs to the log of the process why its last checkpoint failed', async () => {
  const folder = await temporaryFolder()
  const lines: string[] = []
  const log: Logger = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) })
  const store = await openStore(readConfig({ DATA_DIR: folder }), log, Date.now)
  await rm(folder, { recursive: true })
  await store.close()
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
    'the last checkpoint failed; the next start replays the journal',
  ])
})
