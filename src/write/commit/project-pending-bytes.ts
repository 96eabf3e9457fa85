/**
 * Counts the bytes of each project that wait for a commit. While the bytes of all projects exceed the limit, a project
 * may add more only if it has less than an equal share of the limit. So large requests of one project do not cause
 * rejections for other projects.
 */
export class ProjectPendingBytes {
  readonly #bytesByProject = new Map<string, number>()

  add(project: string, bytes: number): void {
    const bytesLeft = (this.#bytesByProject.get(project) ?? 0) + bytes
    if (bytesLeft > 0) this.#bytesByProject.set(project, bytesLeft)
    else this.#bytesByProject.delete(project)
  }

  /** Whether the project has at least `bytesMax` divided by the number of projects with pending bytes. */
  hasEqualShare(project: string, bytesMax: number): boolean {
    const own = this.#bytesByProject.get(project)
    return own !== undefined && own >= bytesMax / this.#bytesByProject.size
  }
}
