import { describeAppend } from './append.ts'
import { describeCatalog } from './catalog.ts'
import { describeDeletion } from './deletion.ts'
import { describeEvents } from './events.ts'
import { type OpenedStore, openersOf } from './fixtures.ts'
import { describeFold } from './fold.ts'
import { describeInbox } from './inbox.ts'
import { describeLife } from './life.ts'
import { describeRequests } from './requests.ts'
import { describeRetention } from './retention.ts'
import { describeSets } from './sets.ts'

/**
 * The promises of `src/store/store.ts` as tests, for every store alike: a file for each group of verbs.
 */
export function describeStore(name: string, openEmpty: () => Promise<OpenedStore>): void {
  const openers = openersOf(openEmpty)
  describeCatalog(name, openers)
  describeAppend(name, openers)
  describeInbox(name, openers)
  describeFold(name, openers)
  describeRetention(name, openers)
  describeSets(name, openers)
  describeDeletion(name, openers)
  describeEvents(name, openers)
  describeRequests(name, openers)
  describeLife(name, openers)
}
