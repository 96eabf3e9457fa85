import type { Config } from '../config/config.ts'

/** Number of further ports that are tried if PORT is not set and the default port is in use. */
const FURTHER_PORTS = 10

const HOST_ERRORS = ['ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL', 'EINVAL']

/** Listens on the configured port. If PORT is not set, listens on the first free port from the default port on. */
export async function listenOn(
  { port, portIsFixed }: Pick<Config['http'], 'port' | 'portIsFixed'>,
  listen: (port: number) => Promise<unknown>,
): Promise<void> {
  for (let further = 0; ; further++) {
    try {
      await listen(port === 0 ? 0 : port + further)
      return
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EADDRINUSE' && !portIsFixed && further < FURTHER_PORTS) continue
      throw typeof code === 'string' && HOST_ERRORS.includes(code)
        ? new Error(`HOST cannot be used: ${(error as Error).message}`, { cause: error })
        : error
    }
  }
}
