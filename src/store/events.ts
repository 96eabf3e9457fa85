/** An event of a project, such as a deployment, and the request for a page of them. */
export interface StoredEvent {
  readonly project: string
  readonly id: string
  readonly timeMs: number
  /** The event as JSON, opaque to the store. */
  readonly json: string
}

export interface EventRequest {
  readonly project: string
  /** Inclusive, like `toMs`. */
  readonly fromMs: number
  readonly toMs: number
  /** The cursor: only events after this one in the list, which is newest first. */
  readonly after?: EventPlace
  readonly limit: number
  readonly bytesMax: number
}

/** Position of an event in the list. */
export interface EventPlace {
  readonly timeMs: number
  readonly id: string
}
