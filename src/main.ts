import { pino } from 'pino'
import { type Config, readConfig } from './config.ts'
import { KEYS_USAGE, parseKeysCommand, UsageError } from './keys-command.ts'
import { openKeyStore, type Running, start } from './start.ts'

/** Composition root: the only reader of the environment. */
async function main(): Promise<void> {
  const config = readConfig(process.env)
  const log = pino({ level: config.logLevel, base: null })
  const running = await start(config, log)
  greet(config, running)
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
}

/** What a newcomer needs next. A key is printed when it is made and never again. */
function greet({ apiKeys, dataDir, redis }: Config, { url, firstKey }: Running): void {
  const lines = [`GaugeQL listens on ${url}`, `GraphiQL          ${url}/graphql`]
  if (firstKey !== undefined) {
    lines.push(
      `API key           ${firstKey}   (shown this once; project "default")`,
      '',
      'Send a point:',
      `  curl ${url}/api/v1/metrics -H "Authorization: Bearer ${firstKey}" -H "Content-Type: application/json" -d '{"name":"api.response_time","type":"distribution","value":145.2,"tags":{"endpoint":"/users"}}'`,
      'Ask it back:',
      `  curl "${url}/api/v1/metrics/api.response_time/query?aggregation=p50,p95" -H "Authorization: Bearer ${firstKey}"`,
    )
  } else if (apiKeys.size > 0) lines.push(`API keys          ${apiKeys.size} from API_KEYS`)
  else {
    const store = redis === undefined ? dataDir : 'this Redis'
    lines.push(`API key           the one shown when a gateway first started on ${store}; npm run keys makes more`)
  }
  process.stdout.write(`\n${lines.join('\n')}\n\n`)
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
    ? [main, 'could not start']
    : [() => manageKeys(command === 'keys' ? args : []), 'could not do that']

run().catch((error: unknown) => {
  const reason = error instanceof Error ? error.message : String(error)
  process.stderr.write(`GaugeQL ${fault}: ${reason}\n`)
  if (error instanceof UsageError) process.stderr.write(`\n${KEYS_USAGE}\n`)
  process.exit(1)
})
