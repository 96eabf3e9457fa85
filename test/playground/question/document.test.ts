import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { buildSchema, parse, validate, valueFromASTUntyped } from 'graphql'
import { describe, expect, it } from 'vitest'
import { compactDocumentOf, documentOf } from '../../../playground/question/document.ts'
import { anyQuestion, QUESTION } from './questions.ts'

const schema = buildSchema(readFileSync(new URL('../../../schema/schema.graphql', import.meta.url), 'utf8'))

/** The arguments of the only root field. */
function argumentsOf(document: string): Record<string, unknown> {
  const [operation] = parse(document).definitions
  if (operation?.kind !== 'OperationDefinition') throw new Error('there is no operation')
  const [field] = operation.selectionSet.selections
  if (field?.kind !== 'Field') throw new Error('there is no field')
  return Object.fromEntries((field.arguments ?? []).map(({ name, value }) => [name.value, valueFromASTUntyped(value)]))
}

describe('the document of a question', () => {
  it('asks what the question says', () => {
    expect(argumentsOf(documentOf(QUESTION))).toEqual({
      metric: 'api.response_time',
      last: '6h',
      interval: '5m',
      timezone: 'Europe/Berlin',
      aggregations: ['P50', 'P95'],
      where: [
        { key: 'status', in: ['200', '201'] },
        { key: 'endpoint', glob: '/users/*' },
        { key: 'region', exists: true },
      ],
      groupBy: ['endpoint'],
      top: { n: 3, by: 'P95', other: true },
      compare: { offset: '1w' },
      fill: 'NULL',
    })
    expect(documentOf(QUESTION)).toContain('comparison {')
    // The tags tell the remainder from other groups.
    expect(documentOf(QUESTION)).toContain('id label tags aggregation')
    expect(documentOf({ ...QUESTION, top: undefined })).toContain('id label aggregation')
  })

  it('is valid, and the same on one line, whatever texts the question has', () => {
    fc.assert(
      fc.property(anyQuestion, (question) => {
        const document = documentOf(question)
        expect(validate(schema, parse(document))).toEqual([])
        const asked = argumentsOf(document)
        expect(asked).toMatchObject({ metric: question.metric })
        const compact = compactDocumentOf(question)
        expect(compact).not.toContain('\n')
        expect(argumentsOf(compact)).toEqual(asked)
      }),
    )
  })

  it('is a subscription when the question is live', () => {
    expect(documentOf({ ...QUESTION, isLive: true })).toMatch(/^subscription Explore {\n {2}live\(/)
  })

  it('has no ranking without groups', () => {
    expect(argumentsOf(documentOf({ ...QUESTION, groupBy: [] }))).not.toHaveProperty('top')
  })
})
