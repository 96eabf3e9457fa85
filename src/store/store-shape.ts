/**
 * The shape of a store: its partitions and resolutions. A store keeps the shape with which it was created. The number
 * of partitions decides which partition holds a metric. If a resolution were removed, queries would miss the data that
 * is stored at this resolution.
 */
export interface StoreShape {
  /** Number of partitions. */
  readonly partitions: number
  /** Bucket widths in milliseconds, finest first, of all metrics but sets. `setResolutions`: of set metrics. */
  readonly resolutions: readonly number[]
  readonly setResolutions: readonly number[]
}

/** Settings of a store: its shape, and how long the data of each resolution is kept. */
export interface StoreSettings {
  readonly partitions: number
  readonly resolutions: readonly Resolution[]
  readonly setResolutions: readonly Resolution[]
}

export interface Resolution {
  readonly bucketWidthMs: number
  /** How long a window is kept after points were last folded into it. */
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
 * Returns the first difference as the end of an error message, such as `was made with partitions 4, not 8`. Undefined
 * if the shapes are equal.
 */
export function shapeDifference(stored: StoreShape, wanted: StoreShape): string | undefined {
  const fields = [
    ['partitions', String(stored.partitions), String(wanted.partitions)],
    ['resolutions', widthsText(stored.resolutions), widthsText(wanted.resolutions)],
    ['set resolutions', widthsText(stored.setResolutions), widthsText(wanted.setResolutions)],
  ] as const
  const different = fields.find(([, storedText, wantedText]) => storedText !== wantedText)
  if (different === undefined) return undefined
  const [name, storedText, wantedText] = different
  return `was made with ${name} ${storedText}, not ${wantedText}`
}

function widthsText(bucketWidthsMs: readonly number[]): string {
  return bucketWidthsMs.map((ms) => `${ms / 1_000}s`).join(',')
}
