import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPERATIONS } from '../../../src/http/openapi/operations.ts'
import { ERROR_CODES } from '../../../src/http/server/error-table.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'

type Document = {
  readonly openapi: string
  readonly paths: Record<
    string,
    Record<string, { operationId: string; responses: Record<string, { description: string }> }>
  >
  readonly components: { readonly schemas: Record<string, { enum?: readonly string[] }> }
}

let gateway: TestGateway
let document: Document

beforeAll(async () => {
  gateway = await startGateway()
  const response = await fetch(`${gateway.url}/openapi.json`)
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8'])
  document = (await response.json()) as Document
})

afterAll(() => gateway.close())

describe('the OpenAPI document', () => {
  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    expect(await validator.validate(structuredClone(document))).toMatchObject({ valid: true })
    expect(validator.version).toBe('3.1')
    const broken = structuredClone(document)
    Object.assign(broken.paths['/health']!['get']!, { responses: 'none' })
    expect(await new Validator().validate(broken)).toMatchObject({ valid: false })
  })

  it('describes every route, and no other', () => {
    const ofRoutes = gateway.routes
      // The framework answers HEAD wherever it answers GET.
      .filter(
        ({ method, path }) => method !== 'HEAD' || !gateway.routes.some((r) => r.method === 'GET' && r.path === path),
      )
      .map(({ method, path }) => `${method} ${path}`)
    const described = OPERATIONS.filter(({ method, path }) => method !== 'HEAD' || ofRoutes.includes(`HEAD ${path}`))
    expect(new Set(described.map(({ method, path }) => `${method} ${path}`))).toEqual(new Set(ofRoutes))
    expect(ofRoutes.length).toBeGreaterThan(10)
    for (const { method, path } of OPERATIONS)
      expect(document.paths[path.replaceAll(/:(\w+)/g, '{$1}')]).toHaveProperty(method.toLowerCase())
  })

  it('names every operation once', () => {
    const ids = OPERATIONS.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('lists every error code, each where it may be met', () => {
    expect(document.components.schemas['ErrorCode']?.enum).toEqual(ERROR_CODES)
    const responses = Object.values(document.paths).flatMap((path) => Object.values(path).map((one) => one.responses))
    const told = responses
      .flatMap((byStatus) => Object.values(byStatus).map(({ description }) => description))
      .join(' ')
    expect(ERROR_CODES.filter((code) => !told.includes(`\`${code}\``))).toEqual([])
  })

  it('refers to schemas that exist, and has none that nobody refers to', () => {
    const refs = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name)
    expect([...new Set(refs)].sort()).toEqual(Object.keys(document.components.schemas).sort())
  })
})
