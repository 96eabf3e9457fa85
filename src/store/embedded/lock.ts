import { mkdirSync, statSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'

/**
 * Lets only one gateway process at a time use a folder. LMDB itself would admit a second process, and both would
 * overwrite each other's changes. The lock is a listening socket: the system closes the socket when the process ends in
 * any way, so the lock never outlives its process.
 *
 * On Linux the socket has an abstract name with the folder's device and inode, so that another path or link to the
 * folder leads to the same lock. Processes in different network namespaces do not see the locks of each other. On other
 * systems the socket is a file in the folder. The file may outlive its process, so the lock counts as held only if the
 * socket accepts a connection.
 */
export interface FolderLock {
  release(): Promise<void>
}

export interface LockOptions {
  /** Whether to use an abstract socket. Default: on Linux only. */
  readonly isAbstractSocket?: boolean
}

/** Creates the folder if it does not exist, and locks it. Throws an Error if another process has the lock. */
export async function lockFolder(folder: string, options: LockOptions = {}): Promise<FolderLock> {
  mkdirSync(folder, { recursive: true })
  if (options.isAbstractSocket ?? process.platform === 'linux') {
    const { dev, ino } = statSync(folder, { bigint: true })
    return lockOf(folder, await listen(`\0gaugeql-${dev}-${ino}`))
  }
  const path = join(folder, 'lock.sock')
  const server = await listen(path)
  if (server !== undefined || (await acceptsConnections(path))) return lockOf(folder, server)
  unlinkSync(path)
  return lockOf(folder, await listen(path))
}

/** Listens on an address. Resolves to undefined if the address is in use. */
function listen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(address, () => {
      server.unref()
      resolve(server)
    })
  })
}

function lockOf(folder: string, server: Server | undefined): FolderLock {
  if (server === undefined) throw new Error(`the folder ${folder} is in use by another gateway`)
  return { release: () => new Promise((resolve) => server.close(() => resolve())) }
}

function acceptsConnections(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
