import './process/production.ts'
import { pino } from 'pino'
import { KEYS_USAGE, parseKeysCommand, UsageError } from './access/keys-command.ts'
import { readConfig } from './config/config.ts'
import { greeting } from './process/greeting.ts'
import { isStarted, startProcesses } from './process/processes.ts'
import { openKeyStore, start } from './process/start.ts'
import { tell } from './telemetry/process-messages.ts'
import { shareMetrics } from './telemetry/process-metrics.ts'

/** Composition root: the only reader of the environment. */
async function serve(): Promise<void> {
  const config = readConfig(process.env)
  const several = config.processes > 1
  const log = pino({ level: config.logLevel, base: several ? { pid: process.pid } : null })
  const running =
    several && !isStarted()
      ? await startProcesses(config, log, fail)
      : await start(config, log, Date.now, isStarted() ? shareMetrics : undefined)
  let stopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) return
    stopping = true
    log.info({ signal }, 'stopping')
    running.close().then(
      () => process.exit(0),
      (err: unknown) => {
        log.fatal({ err }, 'could not stop cleanly')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  if (isStarted()) await tell({ kind: 'listens', url: running.url, firstKey: running.firstKey })
  else process.stdout.write(greeting(config, running))
}

/** Makes, lists or revokes API keys in the store that the environment names. */
async function manageKeys(args: readonly string[]): Promise<void> {
  const config = readConfig(process.env)
  const command = parseKeysCommand(args, Date.now())
  const store = await openKeyStore(config, pino({ level: 'warn', base: null }, pino.destination(2)))
  try {
    process.stdout.write(`${await command.run(store, Date.now())}\n`)
  } finally {
    await store.close()
  }
  if (config.apiKeys.size > 0)
    process.stderr.write('API_KEYS is set: a gateway that has it too does not look at the keys of the store.\n')
}

const [, , command, ...args] = process.argv
const [run, fault] =
  command === undefined
    ? [serve, 'could not start']
    : [() => manageKeys(command === 'keys' ? args : []), 'could not do that']

async function fail(error: unknown): Promise<void> {
  const reason = error instanceof Error ? error.message : String(error)
  // Of several processes that fail for one reason, the one that started them says it.
  if (isStarted()) await tell({ kind: 'failed', reason })
  else process.stderr.write(`GaugeQL ${fault}: ${reason}\n`)
  if (error instanceof UsageError) process.stderr.write(`\n${KEYS_USAGE}\n`)
  process.exit(1)
}

run().catch(fail)
