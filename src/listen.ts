import type { Config } from './config.ts'

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
      const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
      if (!taken || portIsFixed || tried >= PORTS_TRIED) throw error
    }
  }
}
