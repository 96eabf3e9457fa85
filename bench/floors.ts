import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer } from 'node:http'
import { decode } from '@msgpack/msgpack'

/**
 * The floors: servers that do less than any gateway must, each in its own process. `discard` is `node:http` alone,
 * `parse` also parses the body. Neither stores anything. `sync` parses the body and, before it responds, appends a part
 * of it to the file that the second argument names, and syncs the file to disk.
 */
const [, , kind, path] = process.argv
const parses = kind === 'parse' || kind === 'sync'
/** About the bytes that the embedded store writes for a batch, as a share of the body. */
const SYNCED_SHARE = 0.2
const file =
  path === undefined
    ? undefined
    : await open(path, constants.O_CREAT | constants.O_WRONLY | constants.O_APPEND | constants.O_DSYNC)
const RESPONSE = '{"data":{"accepted":500,"rejected":0}}'
const HEADERS = { 'content-type': 'application/json; charset=utf-8', 'content-length': RESPONSE.length }

function parse(body: Buffer, type: string | undefined): void {
  if (type === 'application/msgpack') decode(body)
  else if (type === 'application/x-ndjson') for (const line of body.toString('utf8').split('\n')) JSON.parse(line)
  else JSON.parse(body.toString('utf8'))
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => {
    if (parses) chunks.push(chunk)
  })
  request.on('end', () => {
    const respond = (): void => {
      response.writeHead(201, HEADERS)
      response.end(RESPONSE)
    }
    if (!parses) return respond()
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    parse(body, request.headers['content-type'])
    if (file === undefined) respond()
    else void file.write(body.subarray(0, Math.ceil(body.length * SYNCED_SHARE))).then(respond)
  })
})

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.stdout.write(`http://127.0.0.1:${address.port}\n`)
})
process.on('SIGTERM', () => process.exit(0))
