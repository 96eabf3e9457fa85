import { expect, it } from 'vitest'
import { graphiqlAddress, readFragment } from '../../../playground/session/fragment.ts'

it.each([
  ['', { key: undefined, query: undefined, hashWithoutKey: '' }],
  ['#key=gq_a-b_c', { key: 'gq_a-b_c', query: undefined, hashWithoutKey: '' }],
  ['#key=a%2Bb%26c', { key: 'a+b&c', query: undefined, hashWithoutKey: '' }],
  ['#key=', { key: undefined, query: undefined, hashWithoutKey: '' }],
  ['#top', { key: undefined, query: undefined, hashWithoutKey: '#top=' }],
  ['#query=%7Ba%7D&key=k', { key: 'k', query: '{a}', hashWithoutKey: '#query=%7Ba%7D' }],
])('the fragment %j', (hash, expected) => {
  expect(readFragment(hash)).toEqual(expected)
})

it('an operation comes back from its address', () => {
  const document = 'query A {\n  query(metric: "a&b=c#d+é") { interval }\n}\n'
  expect(readFragment(new URL(graphiqlAddress(document), 'http://g').hash).query).toBe(document)
})
