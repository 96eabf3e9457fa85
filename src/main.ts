import './process/production.ts'
import { pino } from 'pino'
import { KEYS_USAGE, parseKeysCommand, UsageError } from './access/keys-command.ts'
import { readConfig } from './config/config.ts'
import { startMessage } from './process/greeting.ts'
import { openApiKeyStore } from './process/open-store.ts'
import { startInThisProcess } from './process/start.ts'
import { isWorker, startProcesses } from './process/worker-pool.ts'
import { sendToPrimary } from './telemetry/worker-messages.ts'
import { shareMetrics } from './telemetry/worker-metrics.ts'

/**
 * The program. Without arguments it runs a gateway; with `keys` as first argument it manages API keys. Only this file
 * reads settings from the environment.
 */

/** Starts a gateway, in this process or in several worker processes. SIGTERM and SIGINT stop it. */
async function serve(): Promise<void> {
  const config = readConfig(process.env)
  const { processes, logLevel } = config.process
  const log = pino({ level: logLevel, base: processes > 1 ? { pid: process.pid } : null })
  const gateway =
    processes > 1 && !isWorker()
      ? await startProcesses(config, log, fail)
      : await startInThisProcess(config, log, Date.now, isWorker() ? shareMetrics : undefined)
  let isStopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (isStopping) return
    isStopping = true
    log.info({ signal }, 'stopping')
    gateway.close().then(
      () => process.exit(0),
      (err: unknown) => {
        log.fatal({ err }, 'could not stop cleanly')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  if (isWorker()) await sendToPrimary({ kind: 'listens', url: gateway.url, firstKey: gateway.firstKey })
  else process.stdout.write(startMessage(config, gateway))
}

/** Runs a command that creates, lists or revokes API keys in the store that the environment configures. */
async function manageKeys(args: readonly string[]): Promise<void> {
  const config = readConfig(process.env)
  const command = parseKeysCommand(args, Date.now())
  const store = await openApiKeyStore(config, pino({ level: 'warn', base: null }, pino.destination(2)))
  try {
    process.stdout.write(`${await command.run(store, Date.now())}\n`)
  } finally {
    await store.close()
  }
  if (config.access.apiKeys.size > 0)
    process.stderr.write('API_KEYS is set: a gateway with this setting ignores the keys in the store.\n')
}

/** Reports an error and exits with code 1. */
async function fail(error: unknown): Promise<void> {
  const reason = error instanceof Error ? error.message : String(error)
  // A worker does not print the reason but sends it to the primary process, so that several workers that fail for the
  // same reason do not all print it.
  if (isWorker()) await sendToPrimary({ kind: 'failed', reason })
  else process.stderr.write(`GaugeQL ${failureText}: ${reason}\n`)
  if (error instanceof UsageError) process.stderr.write(`\n${KEYS_USAGE}\n`)
  process.exit(1)
}

const [, , command, ...args] = process.argv
const [runCommand, failureText] =
  command === undefined
    ? [serve, 'could not start']
    : [() => manageKeys(command === 'keys' ? args : []), 'could not run the command']
runCommand().catch(fail)
