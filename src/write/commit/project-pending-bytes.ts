/**
 * Counts, for each project, the bytes of the data that waits for the store. While the bytes of all projects exceed a
 * limit, a project may add more only if it has less than an equal share of that limit. So large requests of one project
 * do not cause rejections for projects that use less than their share.
 */
export class ProjectPendingBytes {
  readonly #bytesByProject = new Map<string, number>()

  /** Adds `change`, which may be negative, to the pending bytes of a project. */
  add(project: string, change: number): void {
    const bytes = (this.#bytesByProject.get(project) ?? 0) + change
    if (bytes > 0) this.#bytesByProject.set(project, bytes)
    else this.#bytesByProject.delete(project)
  }

  /**
   * Whether the project has at least `bytesMax` divided by the number of projects with pending bytes. False if it has
   * none.
   */
  hasUsedEqualShare(project: string, bytesMax: number): boolean {
    const pendingBytes = this.#bytesByProject.get(project)
    return pendingBytes !== undefined && pendingBytes >= bytesMax / this.#bytesByProject.size
  }
}
