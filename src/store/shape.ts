/**
 * What a store is created with and cannot change. Which partition holds a metric follows from the number of partitions,
 * and no query would find the data of a resolution that is no longer folded into.
 */
export interface Shape {
  readonly partitions: number
  /** Bucket widths in milliseconds, finest first. */
  readonly resolutions: readonly number[]
  readonly setResolutions: readonly number[]
}

/** What a store is opened with: a shape, and how long each resolution is kept. */
export interface StoreSettings {
  readonly partitions: number
  readonly resolutions: readonly Resolution[]
  readonly setResolutions: readonly Resolution[]
}

export interface Resolution {
  readonly stepMs: number
  readonly keptMs: number
}

export function shapeOf({ partitions, resolutions, setResolutions }: StoreSettings): Shape {
  return {
    partitions,
    resolutions: resolutions.map(({ stepMs }) => stepMs),
    setResolutions: setResolutions.map(({ stepMs }) => stepMs),
  }
}

/** How the two differ, as the end of a sentence about the store; undefined when they do not. */
export function shapeDifference(stored: Shape, wanted: Shape): string | undefined {
  const fields = [
    ['partitions', String(stored.partitions), String(wanted.partitions)],
    ['resolutions', stepsText(stored.resolutions), stepsText(wanted.resolutions)],
    ['set resolutions', stepsText(stored.setResolutions), stepsText(wanted.setResolutions)],
  ] as const
  const different = fields.find(([, found, expected]) => found !== expected)
  if (different === undefined) return undefined
  const [name, found, expected] = different
  return `was made with ${name} ${found}, not ${expected}`
}

function stepsText(steps: readonly number[]): string {
  return steps.map((ms) => `${ms / 1_000}s`).join(',')
}
