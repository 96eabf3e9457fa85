/** A stored event of a project, such as a deployment. {@link EventRequest} asks for a page of events. */
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
  /** Cursor: the page begins after this event in the list, which is sorted newest first. Undefined: the first page. */
  readonly after?: EventPosition
  /** Maximum number of events. */
  readonly limit: number
  /** Maximum bytes of the events' JSON. */
  readonly bytesMax: number
}

/** Identifies the position of an event in a list of events, which is sorted by time, then by id. */
export interface EventPosition {
  readonly timeMs: number
  readonly id: string
}
