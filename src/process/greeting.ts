import { type Config, usesRedis } from '../config/config.ts'
import type { ListeningGateway } from './worker-pool.ts'

/**
 * Returns the text that a gateway prints when it listens: its URLs, and the first key with commands that use it. The
 * first key is known only at the start that created it. Any other start prints where the keys come from instead.
 */
export function startMessage(config: Config, { url, firstKey }: ListeningGateway): string {
  const { apiKeys } = config.access
  // A browser does not send the part after `#`, and the page removes it from the address.
  const fragment = firstKey === undefined ? '' : `#key=${encodeURIComponent(firstKey)}`
  const lines = [
    `GaugeQL listens on ${url}`,
    `Open it           ${url}/explore${fragment}`,
    `GraphiQL          ${url}/graphql${fragment}`,
  ]
  if (firstKey !== undefined) {
    lines.push(
      `API key           ${firstKey}   (shown only now; project "default")`,
      '',
      'Send a point:',
      `  curl ${url}/api/v1/metrics -H "Authorization: Bearer ${firstKey}" -H "Content-Type: application/json" -d '{"name":"api.response_time","type":"distribution","value":145.2,"tags":{"endpoint":"/users"}}'`,
      'Query it:',
      `  curl "${url}/api/v1/metrics/api.response_time/query?aggregation=p50,p95" -H "Authorization: Bearer ${firstKey}"`,
    )
  } else if (apiKeys.size > 0) lines.push(`API keys          ${apiKeys.size} from API_KEYS`)
  else {
    const store = usesRedis(config) ? 'this Redis' : config.store.folder
    lines.push(`API key           the one shown at the first start on ${store}; npm run keys creates more`)
  }
  return `\n${lines.join('\n')}\n\n`
}
