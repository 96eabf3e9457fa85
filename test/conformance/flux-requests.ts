import { refusal, type Step } from './row.ts'

/** Requests and responses that several rows of the Flux API share. */

export const PATH = '/api/v1/metrics'
export const AT = '2024-01-15T10:30:00Z'
export const DAY = 'from=2024-01-15T00:00:00Z&to=2024-01-15T23:59:59Z&interval=1d'
export const START = '2024-01-15T00:00:00Z'

export function totalOf(name: string, aggregation: string, value: unknown): Step {
  return {
    send: `GET ${PATH}/${encodeURIComponent(name)}/query?${DAY}&aggregation=${aggregation}`,
    response: { data: { name, aggregation, interval: '1d', series: [{ timestamp: START, value }] } },
  }
}

export const gauge = (name: string, value: unknown = 1, more: object = {}) => ({ name, type: 'gauge', value, ...more })
export const counter = (name: string, value: unknown = 1, more: object = {}) => ({
  ...{ name, type: 'counter', value, timestamp: AT },
  ...more,
})
export const accepted = (n: number) => ({ data: { accepted: n, rejected: 0 } })
export const absent = (name: string): Step => ({
  send: `GET ${PATH}/${encodeURIComponent(name)}`,
  status: 404,
  response: refusal('metric_not_found'),
})
