import type { ItemError } from '../../model/errors.ts'
import { builder } from '../builder.ts'

export interface BatchOutcome {
  readonly itemCount: number
  readonly rejected: readonly ItemError[]
}

const ItemErrorRef = builder.objectRef<ItemError>('ItemError').implement({
  description: 'Why an item of a batch was rejected.',
  fields: (t) => ({
    index: t.exposeInt('index', {
      description: 'Position of the item in the request, starting at 0.',
    }),
    code: t.string({
      description: 'Error code, as in `extensions.code` of an error. Example: "INVALID_VALUE".',
      resolve: (error) => error.code.toUpperCase(),
    }),
    message: t.exposeString('message', { description: 'Error message for humans.' }),
  }),
})

export const BatchResultRef = builder.objectRef<BatchOutcome>('BatchResult').implement({
  description: 'The outcome of a batch.',
  fields: (t) => ({
    accepted: t.int({
      description: 'Number of stored items.',
      resolve: ({ itemCount, rejected }) => itemCount - rejected.length,
    }),
    rejected: t.int({ description: 'Number of rejected items.', resolve: ({ rejected }) => rejected.length }),
    errors: t.field({
      type: [ItemErrorRef],
      description: 'One per rejected item, sorted by index.',
      resolve: ({ rejected }) => rejected.toSorted((a, b) => a.index - b.index),
    }),
  }),
})
