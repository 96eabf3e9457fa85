import { createServer } from 'node:http'
import { decode } from '@msgpack/msgpack'

/**
 * The floors: servers that do less than any gateway must, each in its own process. `discard` is `node:http` alone,
 * `parse` also parses the body. Neither stores anything.
 */
const parses = process.argv[2] === 'parse'
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
    if (parses) parse(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), request.headers['content-type'])
    response.writeHead(201, HEADERS)
    response.end(RESPONSE)
  })
})

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.stdout.write(`http://127.0.0.1:${address.port}\n`)
})
process.on('SIGTERM', () => process.exit(0))
