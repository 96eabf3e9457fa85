import { pino } from 'pino'
import { type Config, readConfig } from './config.ts'
import { type Running, start } from './start.ts'

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
    lines.push(`API key           the one shown when a gateway first started on ${store}`)
  }
  process.stdout.write(`\n${lines.join('\n')}\n\n`)
}

main().catch((error: unknown) => {
  process.stderr.write(`GaugeQL could not start: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
