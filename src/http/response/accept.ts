/** Reads headers in which a client lists what it accepts: `Accept` and `Accept-Encoding`. */

export interface AcceptedEntry {
  /** A media type or a content encoding. */
  readonly name: string
  readonly parameters: readonly string[]
}

/** Returns the entries of a header in order, in lower case, without those that the client refuses (`q=0`). */
export function acceptedEntries(header = ''): readonly AcceptedEntry[] {
  return header
    .split(',')
    .map((entry) => {
      const [name = '', ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
      return { name, parameters }
    })
    .filter(({ parameters }) => !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter)))
}

/** Whether a header lists a media type or a content encoding. A wildcard does not count. */
export function accepts(header: string | undefined, name: string): boolean {
  return acceptedEntries(header).some((entry) => entry.name === name)
}
