/**
 * Runs every `sh` block of README.md and docs/ that calls curl against a running gateway: URL is its address, KEY an
 * API key. Fails unless each call returns data with a 2xx status, a table with a row, or an empty 202.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const { URL: url, KEY: key, PATH } = process.env
if (!url || !key) throw new Error('URL and KEY must be set')

const root = join(import.meta.dirname, '..')
const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
const work = mkdtempSync(join(tmpdir(), 'gaugeql-calls-'))
// Each call leaves its body and its status in a file.
const wrapper =
  'calls=0; curl() { calls=$((calls + 1)); command curl -sS -o "$WORK/body.$calls" -w "%{http_code} %{content_type}" "$@" >"$WORK/status.$calls"; }\n'

let calls = 0
let failures = 0
for (const page of ['README.md', ...pages.sort().map((name) => join('docs', name))]) {
  const text = readFileSync(join(root, page), 'utf8')
  for (const [, block] of text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)) {
    if (/\bcurl\b/.test(block)) runBlock(page, block)
  }
}
rmSync(work, { recursive: true })
console.log(`${calls} documented calls, ${failures} blocks failed`)
process.exit(failures === 0 && calls > 0 ? 0 : 1)

function runBlock(page, block) {
  const script = wrapper + block.replaceAll('http://127.0.0.1:4000', url)
  const env = { PATH, KEY: key, WORK: work }
  const run = spawnSync('bash', ['-euo', 'pipefail', '-c', script], { env, encoding: 'utf8' })
  const problems = run.status === 0 ? [] : [`exit ${run.status}: ${run.stderr.trim()}`]
  let n = 1
  for (; existsSync(join(work, `status.${n}`)); n++) {
    calls++
    const [status, contentType = ''] = readFileSync(join(work, `status.${n}`), 'utf8').split(' ')
    const body = existsSync(join(work, `body.${n}`)) ? readFileSync(join(work, `body.${n}`), 'utf8') : ''
    if (isSuccess(status, contentType, body)) console.log(`${page}: ${status} ${body.slice(0, 140)}`)
    else problems.push(`${status} ${body.slice(0, 500)}`)
    rmSync(join(work, `status.${n}`))
    rmSync(join(work, `body.${n}`), { force: true })
  }
  if (n === 1) problems.push('no call was made')
  if (problems.length === 0) return
  failures++
  console.error(`${page}:\n${block}${problems.join('\n')}\n`)
}

function isSuccess(status, contentType, body) {
  // The Better Stack API acknowledges with an empty body.
  if (status === '202' && body === '') return true
  if (contentType.startsWith('text/csv')) return status === '200' && /\r\n.+\r\n/.test(body)
  let parsed
  try {
    parsed = JSON.parse(body)
  } catch {}
  return /^2\d\d$/.test(status) && parsed?.data != null && parsed.errors === undefined
}
