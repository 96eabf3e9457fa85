import type { MetricMetadata } from '../../model/point.ts'
import { firstChars } from '../../model/text.ts'
import type { PrometheusType } from './series-metric.ts'

/**
 * Caches the metadata of metric families, because remote write 1.0 sends metadata in separate requests, by default once
 * a minute. The number of families is bounded: those that were set least recently are evicted. Without metadata, the
 * name and the labels of a series decide its type.
 */
export interface FamilyMetadata {
  readonly type: PrometheusType | undefined
  readonly about: MetricMetadata
}

/** Maximum number of metric families in the cache, of all projects together. */
export const CACHED_FAMILIES_MAX = 50_000
/** Maximum length of a unit, and of a help text, which becomes the description of a metric. Longer texts are cut. */
const METADATA_TEXT_CHARS_MAX = 256

export class MetadataCache {
  readonly #familiesMax: number
  /** Families by project and name, the least recently set first. */
  readonly #families = new Map<string, FamilyMetadata>()

  constructor(familiesMax = CACHED_FAMILIES_MAX) {
    this.#familiesMax = familiesMax
  }

  get size(): number {
    return this.#families.size
  }

  get(project: string, family: string): FamilyMetadata | undefined {
    return this.#families.get(keyOf(project, family))
  }

  set(project: string, family: string, metadata: FamilyMetadata): void {
    const key = keyOf(project, family)
    this.#families.delete(key)
    this.#families.set(key, metadata)
    if (this.#families.size <= this.#familiesMax) return
    for (const oldest of this.#families.keys()) {
      this.#families.delete(oldest)
      break
    }
  }
}

function keyOf(project: string, family: string): string {
  return JSON.stringify([project, family])
}

/** Returns the unit and the description of a metric, cut to the maximum length. Empty texts are omitted. */
export function aboutOf(help: string, unit: string): MetricMetadata {
  return {
    ...(unit !== '' && { unit: firstChars(unit, METADATA_TEXT_CHARS_MAX) }),
    ...(help !== '' && { description: firstChars(help, METADATA_TEXT_CHARS_MAX) }),
  }
}
