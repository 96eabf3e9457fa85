/**
 * The shape of a store: its partitions and resolutions. A store is created with it, and it never changes. The number of
 * partitions decides which partition holds a metric. If a resolution were removed, queries would miss the data that is
 * stored at it.
 */
export interface StoreShape {
  readonly partitions: number
  /** Bucket widths in milliseconds, finest first. */
  readonly resolutions: readonly number[]
  readonly setResolutions: readonly number[]
}

/** Settings that a store is opened with: its shape, and how long data of each resolution is kept. */
export interface StoreSettings {
  readonly partitions: number
  readonly resolutions: readonly Resolution[]
  readonly setResolutions: readonly Resolution[]
}

export interface Resolution {
  readonly bucketWidthMs: number
  readonly keptMs: number
}

export function storeShapeOf({ partitions, resolutions, setResolutions }: StoreSettings): StoreShape {
  return {
    partitions,
    resolutions: resolutions.map(({ bucketWidthMs }) => bucketWidthMs),
    setResolutions: setResolutions.map(({ bucketWidthMs }) => bucketWidthMs),
  }
}

/**
 * Returns the first difference as the end of an error message: `was made with partitions 4, not 8`. Undefined if the
 * shapes are equal.
 */
export function shapeDifference(stored: StoreShape, wanted: StoreShape): string | undefined {
  const fields = [
    ['partitions', String(stored.partitions), String(wanted.partitions)],
    ['resolutions', widthsText(stored.resolutions), widthsText(wanted.resolutions)],
    ['set resolutions', widthsText(stored.setResolutions), widthsText(wanted.setResolutions)],
  ] as const
  const different = fields.find(([, found, expected]) => found !== expected)
  if (different === undefined) return undefined
  const [name, found, expected] = different
  return `was made with ${name} ${found}, not ${expected}`
}

function widthsText(bucketWidthsMs: readonly number[]): string {
  return bucketWidthsMs.map((ms) => `${ms / 1_000}s`).join(',')
}
