import type { Metric } from './cached-metric.ts'

/** Yields the metrics in chunks of at most `chunkLengthMax`. All metrics of a chunk belong to one project. */
export function* chunksByProject(metrics: readonly Metric[], chunkLengthMax: number): Iterable<readonly Metric[]> {
  const byProject = new Map<string, Metric[]>()
  for (const metric of metrics) {
    const sameProject = byProject.get(metric.project)
    if (sameProject === undefined) byProject.set(metric.project, [metric])
    else sameProject.push(metric)
  }
  for (const sameProject of byProject.values())
    for (let from = 0; from < sameProject.length; from += chunkLengthMax)
      yield sameProject.slice(from, from + chunkLengthMax)
}
