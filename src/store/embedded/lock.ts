import { mkdirSync, statSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'

/**
 * One process a folder: LMDB itself would let a second one in, whose writing verbs would overwrite the first one's. The lock is
 * a listening socket, which the system lets go of when its process dies in whatever way, so there is never a stale lock.
 * On Linux its name is abstract and says which folder it is by device and inode, so that no path or link leads past it;
 * it holds within one network namespace. Elsewhere the socket is a file in the folder, which may outlive its process: it
 * counts only when somebody answers there.
 */
export interface FolderLock {
  release(): Promise<void>
}

export interface LockOptions {
  readonly abstract?: boolean
}

export async function lockFolder(folder: string, options: LockOptions = {}): Promise<FolderLock> {
  mkdirSync(folder, { recursive: true })
  if (options.abstract ?? process.platform === 'linux') {
    const { dev, ino } = statSync(folder, { bigint: true })
    return hold(folder, await listen(`\0gaugeql-${dev}-${ino}`))
  }
  const path = join(folder, 'lock.sock')
  const server = await listen(path)
  if (server !== undefined || (await answers(path))) return hold(folder, server)
  unlinkSync(path)
  return hold(folder, await listen(path))
}

/** Undefined when the address is taken. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(path, () => {
      server.unref()
      resolve(server)
    })
  })
}

function hold(folder: string, server: Server | undefined): FolderLock {
  if (server === undefined) throw new Error(`the folder ${folder} is in use by another gateway`)
  return { release: () => new Promise((resolve) => server.close(() => resolve())) }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
