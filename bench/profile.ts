import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Prints the functions with the most self time in all profiles of a folder. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly children?: readonly number[]
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const FUNCTIONS = 22
const FILES = 12

export function printProfiles(title: string, folder: string): void {
  const byFunction = new Map<string, number>()
  const byFile = new Map<string, number>()
  const byEntry = new Map<string, number>()
  let busyUs = 0
  const files = readdirSync(folder).filter((file) => file.endsWith('.cpuprofile'))
  for (const file of files) {
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile
    const frames = new Map(nodes.map(({ id, callFrame }) => [id, { file: fileOf(callFrame), name: nameOf(callFrame) }]))
    const entries = entriesOf(nodes)
    const started = endOfStart(
      samples.map((sample) => frames.get(sample)!.file),
      timeDeltas,
    )
    for (let i = started; i < samples.length; i++) {
      const frame = frames.get(samples[i]!)!
      if (frame.name === '(idle)') continue
      // A sample holds until the next one.
      const us = timeDeltas[i + 1] ?? 0
      busyUs += us
      byFunction.set(frame.name, (byFunction.get(frame.name) ?? 0) + us)
      const entry = entries.get(samples[i]!)!
      byEntry.set(entry, (byEntry.get(entry) ?? 0) + us)
      byFile.set(frame.file, (byFile.get(frame.file) ?? 0) + us)
    }
  }
  process.stdout.write(
    `\n${title}: ${Math.round(busyUs / 1_000)} ms of the main thread in ${files.length} profiles, by self time\n`,
  )
  printShares(byFunction, busyUs, FUNCTIONS)
  process.stdout.write('  by file\n')
  printShares(byFile, busyUs, FILES)
  process.stdout.write('  by the outermost function of ours, with all it calls\n')
  printShares(byEntry, busyUs, FILES)
}

function printShares(selfUs: ReadonlyMap<string, number>, busyUs: number, lines: number): void {
  for (const [name, us] of [...selfUs].sort(([, a], [, b]) => b - a).slice(0, lines)) {
    process.stdout.write(`${((100 * us) / busyUs).toFixed(1).padStart(6)} %  ${name}\n`)
  }
}

const START_US_MAX = 3_000_000

/** The first sample after modules were loaded, which is not part of any request. */
function endOfStart(files: readonly string[], timeDeltas: readonly number[]): number {
  let end = 0
  let us = 0
  for (let i = 0; i < files.length && us < START_US_MAX; i++) {
    us += timeDeltas[i]!
    if (/^node:internal\/(modules|bootstrap|main)|module-lexer|cjs-module/.test(files[i]!)) end = i + 1
  }
  return end
}

/** For each node the outermost function of the gateway that leads to it. */
function entriesOf(nodes: CpuProfile['nodes']): Map<number, string> {
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const entries = new Map<number, string>()
  for (const { id } of nodes) {
    let entry = '(runtime)'
    for (let node: number | undefined = id; node !== undefined; node = parents.get(node)) {
      const { callFrame } = byId.get(node)!
      if (callFrame.url.startsWith('file:') && !callFrame.url.includes('/node_modules/')) entry = nameOf(callFrame)
    }
    entries.set(id, entry)
  }
  return entries
}

type CallFrame = CpuProfile['nodes'][number]['callFrame']

function fileOf({ functionName, url }: CallFrame): string {
  if (url === '') return functionName.startsWith('(') ? functionName : 'native'
  return url.replace(/^.*\/(dist|node_modules)\//, '')
}

function nameOf(frame: CallFrame): string {
  const { functionName, url, lineNumber } = frame
  if (url === '' && functionName.startsWith('(')) return functionName
  return `${fileOf(frame)}:${lineNumber + 1} ${functionName || '(anonymous)'}`
}
