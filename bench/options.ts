import { parseArgs } from 'node:util'

export const SECTIONS = ['ingest', 'single', 'graphql', 'queries', 'bytes'] as const
export type Section = (typeof SECTIONS)[number]

export interface Options {
  readonly sections: readonly Section[]
  /** A tenth of the work: to see that everything runs, not to compare numbers. */
  readonly quick: boolean
  /** Rounds whose median counts. */
  readonly rounds: number
  /** Profiles the gateway and prints where its time goes. */
  readonly profile: boolean
  /** Only scenarios whose name contains this. */
  readonly filter: string
  /** The compiled gateway. */
  readonly entry: string
  /** Where the day for the queries is kept between runs; otherwise it is loaded anew. */
  readonly day: string | undefined
}

export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      profile: { type: 'boolean', default: false },
      filter: { type: 'string', default: '' },
      entry: { type: 'string', default: 'dist/main.js' },
      day: { type: 'string' },
    },
  })
  const sections = values.only === undefined ? SECTIONS : values.only.split(',').map(sectionOf)
  const rounds = values.rounds === undefined ? (values.quick ? 3 : 5) : Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds must be a whole number from 1, not ${values.rounds}`)
  return {
    sections,
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
