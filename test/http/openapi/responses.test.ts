import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { exampleRequests, NOTHING_SEEN, sendExample } from '../../support/example-requests.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'

interface Documented {
  readonly content?: Record<string, object>
  readonly headers: Record<string, object>
}
type Paths = Record<string, Record<string, { readonly responses: Record<string, Documented> }>>

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => gateway.close())

it('every route responds as the document describes, with success and with errors', async () => {
  const text = await (await fetch(`${gateway.url}/openapi.json`)).text()
  const document: { readonly paths: Paths } = JSON.parse(text)
  // Formats and examples are for readers.
  const ajv = new Ajv2020({ strict: false, validateFormats: false })
  ajv.addSchema(document, 'document')
  const validators = new Map<string, ValidateFunction>()
  const validatorOf = (pointer: string): ValidateFunction => {
    const validate = validators.get(pointer) ?? ajv.compile({ $ref: `document#${pointer}` })
    validators.set(pointer, validate)
    return validate
  }
  const escaped = (part: string) => part.replaceAll('~', '~0').replaceAll('/', '~1')
  let compared = 0
  for (const key of [gateway.key, 'nobody']) {
    for (const example of exampleRequests('mark', NOTHING_SEEN)) {
      const [method = '', route = ''] = example.route.split(' ')
      const path = route.replaceAll(/:(\w+)/g, '{$1}')
      const { status, headers, body } = await sendExample(gateway.url, key, example)
      const at = `${method} ${example.url} ${status} ${body.slice(0, 300)}`
      const documented = document.paths[path]?.[method.toLowerCase()]?.responses[status]
      expect(documented, at).toBeDefined()
      const type = headers.get('content-type')?.replace(/ *;.*/, '')
      expect(Object.keys(documented!.content ?? {}), at).toEqual(
        type === undefined ? [] : expect.arrayContaining([type]),
      )
      for (const name of Object.keys(documented!.headers))
        if (!name.startsWith('RateLimit')) expect(headers.has(name), at).toBe(true)
      if (type === undefined || !type.endsWith('json') || body === '') continue
      const pointer = ['paths', path, method.toLowerCase(), 'responses', String(status), 'content', type, 'schema']
      const validate = validatorOf(`/${pointer.map(escaped).map(encodeURIComponent).join('/')}`)
      expect(validate(JSON.parse(body)), `${at} ${JSON.stringify(validate.errors)}`).toBe(true)
      compared++
    }
  }
  expect(compared).toBeGreaterThan(100)
  // The comparison would see a difference.
  const metric = validatorOf('/components/schemas/Metric')
  expect(metric({ name: 'n', type: 'gauge', tags: [], first_seen: null })).toBe(false)
})
