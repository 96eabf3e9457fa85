import { cpSync } from 'node:fs'
import { Environment, type EnvironmentOptions } from '../../src/store/embedded/environment.ts'
import { Lmdb } from '../../src/store/embedded/lmdb.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Number of unfinished transactions of all environments. */
let transactions = 0

/** Counts its unfinished transactions. */
export class WatchedLmdb extends Lmdb {
  override async write(changeRows: () => void): Promise<void> {
    transactions++
    try {
      await super.write(changeRows)
    } finally {
      transactions--
    }
  }
}

/**
 * Closes an environment and opens it again; after a crash, as a copy of the folder from before the close. The LMDB
 * environment must be a `WatchedLmdb`.
 */
export async function reopenEnvironment(
  folder: string,
  environment: Environment,
  options: EnvironmentOptions,
  how: 'reopen' | 'crash',
): Promise<{ readonly folder: string; readonly environment: Environment }> {
  let next = folder
  if (how === 'crash') {
    next = await temporaryFolder()
    // LMDB may not be copied during a transaction. Between two transactions of a checkpoint, it may.
    while (transactions > 0) await new Promise((resolve) => setImmediate(resolve))
    cpSync(folder, next, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') })
  }
  await environment.close()
  return { folder: next, environment: await Environment.open(next, new WatchedLmdb(next), options) }
}
