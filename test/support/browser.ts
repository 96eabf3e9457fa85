import { type Browser, chromium, type Page } from 'playwright-core'
import { installedProgram } from './installed-program.ts'

/** Debian's Chromium without a window, which reaches nothing but this machine. */
export async function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: await installedProgram({ names: ['chromium', 'chromium-browser'], packageName: 'chromium' }),
    headless: true,
    // Root may not use the sandbox.
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      ...['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-component-update', '--disable-sync'],
      ...['--disable-background-networking', '--disable-dev-shm-usage'],
      // Whatever is not on this machine is not found, and shows as a failed request.
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  })
}

/** A page that keeps what a test must be able to say about it. */
export interface WatchedPage {
  readonly page: Page
  /** Errors of the console, and exceptions nobody caught. */
  readonly errors: readonly string[]
  /** Addresses of all requests, those that failed included. */
  readonly requests: readonly string[]
}

export function watchPage(page: Page): WatchedPage {
  const errors: string[] = []
  const requests: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(`${message.text()} (${message.location().url})`)
  })
  page.on('pageerror', (error) => errors.push(String(error)))
  page.on('request', (request) => requests.push(request.url()))
  page.on('websocket', (socket) => requests.push(socket.url()))
  return { page, errors, requests }
}
