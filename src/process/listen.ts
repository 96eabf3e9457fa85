import type { Config } from '../config/config.ts'

/** Number of further ports that are tried if PORT is not set and the default port is in use. */
const FURTHER_PORTS_MAX = 10

/** Codes of the errors that Node throws if it cannot listen on the configured host. */
const HOST_ERROR_CODES = ['ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL', 'EINVAL']

/** Listens on the configured port. If PORT is not set and the default port is in use, tries the ports after it. */
export async function listenOnFreePort(
  { port, isPortFixed }: Pick<Config['http'], 'port' | 'isPortFixed'>,
  listen: (port: number) => Promise<unknown>,
): Promise<void> {
  for (let portOffset = 0; ; portOffset++) {
    try {
      await listen(port === 0 ? 0 : port + portOffset)
      return
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EADDRINUSE' && !isPortFixed && portOffset < FURTHER_PORTS_MAX) continue
      throw typeof code === 'string' && HOST_ERROR_CODES.includes(code)
        ? new Error(`HOST cannot be used: ${(error as Error).message}`, { cause: error })
        : error
    }
  }
}
