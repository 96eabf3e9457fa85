import { parseArgs } from 'node:util'
import { STORES, type StoreKind } from './store.ts'

export const SECTIONS = ['ingest', 'single', 'graphql', 'queries', 'bytes', 'memory', 'growth'] as const
export type Section = (typeof SECTIONS)[number]
/** Run only when named, because they take minutes on each store. */
const ON_DEMAND: readonly Section[] = ['memory', 'growth']

export interface Options {
  readonly sections: readonly Section[]
  /** Each section runs on each of these stores. */
  readonly stores: readonly StoreKind[]
  /** A tenth of the work, to check that everything runs. The numbers are not comparable. */
  readonly quick: boolean
  /** The number of rounds; the report has their median. */
  readonly rounds: number
  /** Profiles the gateway and prints where it spends time. */
  readonly profile: boolean
  /** Only scenarios whose name contains this. */
  readonly filter: string
  /** The compiled gateway. */
  readonly entry: string
  /** A folder that keeps the day for the queries between runs. Without it each run loads the day. */
  readonly day: string | undefined
}

export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      store: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      profile: { type: 'boolean', default: false },
      filter: { type: 'string', default: '' },
      entry: { type: 'string', default: 'dist/main.js' },
      day: { type: 'string' },
    },
  })
  const sections =
    values.only === undefined
      ? SECTIONS.filter((name) => !ON_DEMAND.includes(name))
      : values.only.split(',').map(sectionOf)
  const stores = values.store === undefined ? STORES : values.store.split(',').map(storeOf)
  const rounds = values.rounds === undefined ? (values.quick ? 3 : 5) : Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds must be a whole number from 1, not ${values.rounds}`)
  return {
    sections,
    stores,
    quick: values.quick,
    rounds,
    profile: values.profile,
    filter: values.filter,
    entry: values.entry,
    day: values.day,
  }
}

function sectionOf(text: string): Section {
  const section = SECTIONS.find((name) => name === text || (name === 'queries' && text === 'query'))
  if (section === undefined) throw new Error(`--only takes ${SECTIONS.join(', ')}, not ${text}`)
  return section
}

function storeOf(text: string): StoreKind {
  const store = STORES.find((name) => name === text)
  if (store === undefined) throw new Error(`--store takes ${STORES.join(', ')}, not ${text}`)
  return store
}
