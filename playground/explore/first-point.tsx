import { shellQuote } from '../question/code.ts'
import { CopyButton } from './copy-button.tsx'

/**
 * Shown for a project without metrics: how to send the first point. The explorer reads the list of metrics again and
 * again, so a chart replaces this view by itself.
 */
export function FirstPoint({ apiKey, canIngest }: { readonly apiKey: string; readonly canIngest: boolean }) {
  const call = firstCall(location.origin, apiKey)
  return (
    <section class="card first-point" aria-labelledby="first-point">
      <h1 id="first-point">Send the first point</h1>
      <p>
        This project has no metrics yet. A metric begins with its first point. Paste this into a terminal; the chart
        opens by itself.
      </p>
      <div class="code">
        <pre>
          <code>{call}</code>
        </pre>
        <CopyButton text={call} />
      </div>
      {!canIngest && <p class="warning">This key may not send points: it lacks the scope ingest. Use another one.</p>}
      <p class="waiting" role="status">
        <span class="pulse" aria-hidden="true" />
        Waiting for the first point …
      </p>
    </section>
  )
}

export function firstCall(origin: string, key: string): string {
  const point = {
    name: 'api.response_time',
    type: 'distribution',
    value: 145.2,
    unit: 'ms',
    tags: { endpoint: '/users' },
  }
  return [
    `curl ${origin}/api/v1/metrics`,
    `-H ${shellQuote(`Authorization: Bearer ${key}`)}`,
    "-H 'Content-Type: application/json'",
    `-d ${shellQuote(JSON.stringify(point))}`,
  ].join(' \\\n  ')
}
