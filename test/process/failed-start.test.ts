import { pino } from 'pino'
import { expect, test } from 'vitest'
import { readConfig } from '../../src/config/config.ts'
import { openStore } from '../../src/process/open-store.ts'
import { startInThisProcess } from '../../src/process/start.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const log = pino({ level: 'silent' })

// The first step after opening the store that reads the clock: with API_KEYS the start of the folds, otherwise the
// first key.
test.each(['', 'given-key-0123456789:shop:query'])(
  'a start that fails closes the store (API_KEYS "%s")',
  async (keys) => {
    const config = readConfig({ DATA_DIR: await temporaryFolder(), PORT: '0', API_KEYS: keys })
    const failingClock = (): number => {
      throw new Error('the clock failed')
    }
    await expect(startInThisProcess(config, log, failingClock)).rejects.toThrow('the clock failed')
    const store = await openStore(config, log, Date.now)
    await store.close()
  },
)
