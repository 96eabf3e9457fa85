import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Bytes of the heap and of buffers outside of it, without garbage. */
function usedBytes(): number {
  // Buffers are freed one collection after the objects that own them.
  for (let i = 0; i < 3; i++) collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** What the result of `make` holds in memory. */
export function measureHeld<T>(make: () => T): { readonly held: T; readonly bytes: number } {
  const before = usedBytes()
  const held = make()
  return { held, bytes: usedBytes() - before }
}
