/**
 * Bytes that each project has waiting for a commit. When the gateway is full, a project may add more only while it
 * holds less than an equal share, so the large requests of one project do not make the gateway refuse those of another.
 */
export class ProjectShares {
  readonly #bytesByProject = new Map<string, number>()

  add(project: string, bytes: number): void {
    const left = (this.#bytesByProject.get(project) ?? 0) + bytes
    if (left > 0) this.#bytesByProject.set(project, left)
    else this.#bytesByProject.delete(project)
  }

  /** Whether a project holds its equal share of `bytesMax` or more. */
  isUsedUp(project: string, bytesMax: number): boolean {
    const own = this.#bytesByProject.get(project)
    return own !== undefined && own >= bytesMax / this.#bytesByProject.size
  }
}
