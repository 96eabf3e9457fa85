import { fillLine, type QueryResult } from '../../src/query/compute/result.ts'
import type { LiveUpdate } from '../../src/query/live/live-patch.ts'

/** What a client shows: of each group by its name its total and each bucket by its start. */
export interface Picture {
  readonly [group: string]: {
    readonly total: number | undefined
    readonly buckets: { readonly [startMs: string]: Readonly<Record<string, unknown>> }
  }
}

export function pictureOf(result: QueryResult): Picture {
  return Object.fromEntries(
    result.groups.map((group) => {
      const buckets: Record<string, Record<string, unknown>> = {}
      for (const name of group.values.keys()) {
        const line = fillLine(group, name, result.fill)
        line.bucketIndexes.forEach((bucket, row) => {
          const at = (buckets[result.startMs[bucket]!] ??= { complete: result.endMs[bucket]! <= result.meta.nowMs })
          at[name] = line.values[row]
        })
      }
      return [JSON.stringify(group.tags), { total: group.totals.get('sum'), buckets }]
    }),
  )
}

/** As a client takes an update: by what the schema says of it and nothing else. */
export function applyUpdate(picture: Picture, { kind, result, dropBeforeMs }: LiveUpdate): Picture {
  const news = pictureOf(result)
  if (kind === 'snapshot') return news
  const next: Record<string, Picture[string]> = {}
  for (const name of new Set([...Object.keys(picture), ...Object.keys(news)])) {
    const merged = { ...picture[name]?.buckets, ...news[name]?.buckets }
    const kept = Object.entries(merged).filter(([start]) => dropBeforeMs === undefined || Number(start) >= dropBeforeMs)
    if (kept.length > 0 || name === '[]') {
      next[name] = {
        total: news[name] === undefined ? picture[name]!.total : news[name].total,
        buckets: Object.fromEntries(kept),
      }
    }
  }
  return next
}
