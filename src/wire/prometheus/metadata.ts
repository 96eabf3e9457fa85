import type { MetricMetadata } from '../../model/point.ts'
import { firstChars } from '../../model/text.ts'
import type { PrometheusType } from './series-place.ts'

/**
 * Caches the metadata of metric families. Remote write 1.0 sends metadata in separate requests, about once a minute.
 * Invariant: there are at most `METADATA_FAMILIES_MAX` families. The oldest families are evicted; the suffix of the
 * name then decides their type.
 */
export interface FamilyMetadata {
  readonly type: PrometheusType | undefined
  readonly about: MetricMetadata
}

export const METADATA_FAMILIES_MAX = 50_000
/** Maximum length of a help text. The help text becomes the description of a metric. */
const HELP_CHARS_MAX = 256

export class MetadataMemory {
  readonly #familiesMax: number
  /** Families by project and name, the oldest first. */
  readonly #families = new Map<string, FamilyMetadata>()

  constructor(familiesMax = METADATA_FAMILIES_MAX) {
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

export function aboutOf(help: string, unit: string): MetricMetadata {
  return {
    ...(unit !== '' && { unit: firstChars(unit, HELP_CHARS_MAX) }),
    ...(help !== '' && { description: firstChars(help, HELP_CHARS_MAX) }),
  }
}
