/**
 * Number of bytes of each project that wait for a commit. When the gateway is full, a project may add more only while
 * it has less than an equal share. So large requests of one project do not cause rejections for other projects.
 */
export class ProjectShares {
  readonly #bytesByProject = new Map<string, number>()

  add(project: string, bytes: number): void {
    const left = (this.#bytesByProject.get(project) ?? 0) + bytes
    if (left > 0) this.#bytesByProject.set(project, left)
    else this.#bytesByProject.delete(project)
  }

  /** Whether the project has its equal share of `bytesMax` or more. */
  isUsedUp(project: string, bytesMax: number): boolean {
    const own = this.#bytesByProject.get(project)
    return own !== undefined && own >= bytesMax / this.#bytesByProject.size
  }
}
