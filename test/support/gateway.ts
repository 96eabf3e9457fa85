import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { readConfig } from '../../src/config/config.ts'
import { type RunningGateway, startInThisProcess } from '../../src/process/start.ts'

export interface TestGateway extends RunningGateway {
  readonly key: string
  readonly folder: string
}

export interface TestGatewayOptions {
  /** Settings as in the environment. Rates are not limited unless they say so. */
  readonly env?: Readonly<Record<string, string>>
  readonly now?: () => number
  /** A folder of the caller's, kept when the gateway closes. */
  readonly folder?: string
}

/** The whole gateway in this process: embedded store in a temporary folder, listening on a free port. */
export async function startGateway({ env = {}, now, folder: given }: TestGatewayOptions = {}): Promise<TestGateway> {
  const folder = given ?? (await mkdtemp(join(tmpdir(), 'gaugeql-')))
  const key = 'test-key-0123456789'
  const config = readConfig({
    PORT: '0',
    LOG_LEVEL: 'silent',
    API_KEYS: `${key}:test:ingest+query+admin`,
    DATA_DIR: folder,
    RATE_LIMITS: 'off',
    ...env,
  })
  const running = await startInThisProcess(config, pino({ level: config.process.logLevel }), now)
  return {
    ...running,
    key,
    folder,
    async close() {
      await running.close()
      if (given === undefined) await rm(folder, { recursive: true, force: true })
    },
  }
}
