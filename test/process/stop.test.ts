import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { startChild } from '../support/child-gateway.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

it('stops at once while a browser holds a connection over which it has asked nothing yet', async () => {
  const child = await startChild({ PORT: '0', DATA_DIR: await temporaryFolder() })
  onTestFinished(() => {
    child.process.kill('SIGKILL')
  })
  const socket = connect(Number(new URL(child.url).port), '127.0.0.1')
  onTestFinished(() => {
    socket.destroy()
  })
  await once(socket, 'connect')
  // Answered after the connection was taken.
  expect((await fetch(`${child.url}/health`)).status).toBe(200)
  const closed = once(socket.resume(), 'close')
  expect((await child.kill('SIGTERM')).code).toBe(0)
  await closed
})
