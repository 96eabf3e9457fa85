import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shellQuote, sourceCodeOf } from '../../../playground/question/code.ts'
import { documentOf } from '../../../playground/question/document.ts'
import { defaultQuestion, type Question } from '../../../playground/question/question.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'
import { anyQuestion } from './questions.ts'

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway()
  const body = JSON.stringify({ name: METRIC, type: 'counter', value: 7, tags: { [TAG]: VALUE } })
  await fetch(`${gateway.url}/api/v1/metrics`, { method: 'POST', headers: { 'x-api-key': gateway.key }, body })
})
afterAll(() => gateway.close())

const METRIC = `it's "odd" \`\${1}\` $(date) \\n`
const TAG = "k'"
const VALUE = '`$HOME`'
const question: Question = {
  ...defaultQuestion('Europe/Berlin'),
  metric: METRIC,
  aggregations: ['SUM'],
  filters: [{ key: TAG, operator: 'in', values: [VALUE] }],
}
const RESULT = { series: [{ label: 'sum', total: 7 }] }

describe('the code of a question', () => {
  it('runs in a shell, with the key in a variable or in the code', async () => {
    for (const key of [undefined, gateway.key]) {
      const code = sourceCodeOf('curl', question, { origin: gateway.url, key })
      const env = { PATH: process.env['PATH'], ...(key === undefined && { KEY: gateway.key }) }
      const { stdout } = await promisify(execFile)('bash', ['-c', code], { env })
      expect(JSON.parse(stdout)).toMatchObject({ data: { query: RESULT } })
    }
  })

  it('runs in JavaScript, with each line logged', async () => {
    const logged: unknown[] = []
    await run(sourceCodeOf('fetch', question, { origin: gateway.url, key: gateway.key }), logged)
    expect(logged).toEqual([['sum', expect.any(Array), expect.arrayContaining([7])]])
  })

  it('of a live question reads the stream until it is stopped', async () => {
    const live = { ...question, isLive: true }
    const logged: unknown[] = []
    const running = run(sourceCodeOf('fetch', live, { origin: gateway.url, key: gateway.key }), logged)
    await expect.poll(() => logged).toMatchObject([[{ kind: 'SNAPSHOT', ...RESULT }]])
    const code = sourceCodeOf('curl', live, { origin: gateway.url, key: gateway.key })
    const curl = await promisify(execFile)('bash', ['-c', `timeout 5 ${code.trim()} || true`])
    expect(curl.stdout).toContain('"SNAPSHOT"')
    await gateway.close()
    await running.catch(() => {})
  })

  it('shows the key only when it is asked to', () => {
    for (const language of ['GraphQL', 'curl', 'fetch'] as const) {
      expect(sourceCodeOf(language, question, { origin: 'http://g', key: undefined })).not.toContain('secret-key')
    }
    expect(sourceCodeOf('curl', question, { origin: 'http://g', key: 'secret-key' })).toContain('Bearer secret-key')
  })

  it('keeps the document whole in a template literal, whatever it holds', () => {
    fc.assert(
      fc.property(anyQuestion, (any) => {
        const code = sourceCodeOf('fetch', any, { origin: 'http://g', key: `k'"\\` })
        const [declarations] = code.split('\nconst response')
        const evaluate = new Function(`${declarations}\nreturn { key, query }`)
        expect(evaluate()).toEqual({ key: `k'"\\`, query: `\n${documentOf(any)}` })
      }),
    )
  })

  it('quotes for a shell so that nothing is expanded', async () => {
    const text = `it's $HOME \`date\` "\\" $(date)`
    const { stdout } = await promisify(execFile)('bash', ['-c', `printf %s ${shellQuote(text)}`])
    expect(stdout).toBe(text)
  })
})

/** Runs code with a console that keeps what it logs. */
function run(code: string, logged: unknown[]): Promise<void> {
  const AsyncFunction = (async () => {}).constructor as new (...texts: string[]) => (console: object) => Promise<void>
  return new AsyncFunction('console', code)({ log: (...values: unknown[]) => logged.push(values) })
}
