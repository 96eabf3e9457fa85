import { type JournalFile, type OpenJournalFile, openJournalFile } from '../../src/store/embedded/journal.ts'

export interface FailingJournal {
  /** Writes fail while this is set: after a half of the bytes, or after all of them. */
  failure: 'half' | 'sync' | undefined
  readonly openFile: OpenJournalFile
}

/** Journal files on a disk that can become full. */
export function failingJournal(): FailingJournal {
  const journal: FailingJournal = {
    failure: undefined,
    async openFile(path): Promise<JournalFile> {
      const file = await openJournalFile(path)
      return {
        async write(bytes, position) {
          await file.write(journal.failure === 'half' ? bytes.subarray(0, bytes.length / 2) : bytes, position)
          if (journal.failure !== undefined) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
        },
        close: () => file.close(),
      }
    },
  }
  return journal
}
