import type { ItemError } from '../../model/errors.ts'
import { builder } from '../builder.ts'

export interface Batch {
  readonly items: number
  readonly rejected: readonly ItemError[]
}

const ItemErrorRef = builder.objectRef<ItemError>('ItemError').implement({
  description: 'Why one item of a batch was not stored.',
  fields: (t) => ({
    index: t.int({ description: 'Position of the item in the request, from 0.', resolve: (error) => error.index }),
    code: t.string({
      description: 'For programs, as in `extensions.code` of an error. Example: "INVALID_VALUE".',
      resolve: (error) => error.code.toUpperCase(),
    }),
    message: t.string({ description: 'For people.', resolve: (error) => error.message }),
  }),
})

export const BatchResultRef = builder.objectRef<Batch>('BatchResult').implement({
  description: 'What became of the items of a batch.',
  fields: (t) => ({
    accepted: t.int({ description: 'Items stored.', resolve: ({ items, rejected }) => items - rejected.length }),
    rejected: t.int({ description: 'Items left out.', resolve: ({ rejected }) => rejected.length }),
    errors: t.field({
      type: [ItemErrorRef],
      description: 'One for each item left out, by index.',
      resolve: ({ rejected }) => rejected.toSorted((a, b) => a.index - b.index),
    }),
  }),
})
