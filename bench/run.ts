import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { measureBytes } from './bytes.ts'
import { measureGraphQL } from './graphql.ts'
import { measureGrowth } from './growth.ts'
import { measureIngest, measureSingle } from './ingest.ts'
import { measureMemory } from './memory.ts'
import { type Options, readOptions, type Section } from './options.ts'
import { printProfiles } from './profile.ts'
import { measureQueries } from './queries.ts'
import { fileStampOf, Report } from './report.ts'
import { onStore, type StoreKind } from './store.ts'

/**
 * `npm run bench`: measures the costs of the gateway against their budgets. Reports a missed budget, fails on a wrong
 * result.
 */
type Measure = (report: Report, options: Options, store: StoreKind, profileDir: string | undefined) => Promise<void>

const MEASURES: Readonly<Record<Section, Measure>> = {
  ingest: measureIngest,
  single: measureSingle,
  graphql: measureGraphQL,
  queries: measureQueries,
  bytes: measureBytes,
  memory: measureMemory,
  growth: measureGrowth,
}

const RESULTS = join('bench', 'results')

const options = readOptions(process.argv.slice(2))
const report = new Report()
const date = new Date()
const profiles: [Section, string][] = []

for (const section of options.sections) {
  for (const store of options.stores) {
    process.stderr.write(`${section}${onStore(store)}\n`)
    const profileDir =
      options.profile && section !== 'bytes'
        ? join(RESULTS, `profiles-${fileStampOf(date)}`, `${section}-${store}`)
        : undefined
    await MEASURES[section](report, options, store, profileDir)
    if (profileDir !== undefined) profiles.push([section, profileDir])
  }
}

process.stdout.write('\n')
report.print()
for (const [section, folder] of profiles) {
  for (const part of readdirSync(folder)) printProfiles(`${section}: ${part}`, join(folder, part))
}
process.stdout.write(`\n${report.save(RESULTS, date, options.quick)}\n`)
