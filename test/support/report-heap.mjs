import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Loaded into a gateway under test: on SIGUSR2 it collects its garbage and prints the bytes that are left. */
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')
let reports = 0
process.on('SIGUSR2', () => {
  collect()
  // What finalizers let go is collected by a second round.
  setImmediate(() => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    process.stdout.write(`memory ${++reports}: ${heapUsed + external}\n`)
  })
})
