import type { Config } from '../config/config.ts'

/** Ports tried after the default one when nobody chose. */
const PORTS_TRIED = 10

/** Listens on the port asked for; when nobody asked, on the first free one from the default on. */
export async function listenOn(
  { port, portIsFixed }: Pick<Config, 'port' | 'portIsFixed'>,
  listen: (port: number) => Promise<unknown>,
): Promise<void> {
  for (let tried = 0; ; tried++) {
    try {
      await listen(port === 0 ? 0 : port + tried)
      return
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EADDRINUSE' && !portIsFixed && tried < PORTS_TRIED) continue
      throw typeof code === 'string' && NO_SUCH_HOST.test(code)
        ? new Error(`HOST cannot be used: ${(error as Error).message}`, { cause: error })
        : error
    }
  }
}

const NO_SUCH_HOST = /^(ENOTFOUND|EAI_AGAIN|EADDRNOTAVAIL|EINVAL)$/
