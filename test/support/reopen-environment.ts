import { cpSync, readdirSync } from 'node:fs'
import { expect, vi } from 'vitest'
import { Environment, type EnvironmentOptions } from '../../src/store/embedded/environment.ts'
import { Lmdb } from '../../src/store/embedded/lmdb.ts'
import { temporaryFolder } from './temporary-folder.ts'

const journalsIn = (folder: string) => readdirSync(folder).filter((name) => name.startsWith('journal-'))

/** Closes an environment and opens it again; after a crash, as a copy of the folder from before the close. */
export async function reopenEnvironment(
  folder: string,
  environment: Environment,
  options: EnvironmentOptions,
  how: 'reopen' | 'crash',
): Promise<{ readonly folder: string; readonly environment: Environment }> {
  let next = folder
  if (how === 'crash') {
    // LMDB may not be copied while a checkpoint writes it.
    await vi.waitFor(() => expect(journalsIn(folder)).toHaveLength(1), { timeout: 20_000 })
    next = await temporaryFolder()
    cpSync(folder, next, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') })
  }
  await environment.close()
  return { folder: next, environment: await Environment.open(next, new Lmdb(next), options) }
}
