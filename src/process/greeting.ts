import type { Config } from '../config/config.ts'
import type { Listening } from './processes.ts'

/** What a newcomer needs next. A key is printed when it is made and never again. */
export function greeting({ apiKeys, dataDir, redis }: Config, { url, firstKey }: Listening): string {
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
  return `\n${lines.join('\n')}\n\n`
}
