/** A stored event of a project, such as a deployment. */
export interface StoredEvent {
  readonly project: string
  readonly id: string
  readonly timeMs: number
  /** The event as JSON, opaque to the store. */
  readonly json: string
}

/** Asks for a page of the events of a project, newest first. */
export interface EventRequest {
  readonly project: string
  /** Inclusive, like `toMs`. */
  readonly fromMs: number
  readonly toMs: number
  /** Cursor: the page begins with the next event after this one in the list. Undefined: the first page. */
  readonly after?: EventPosition
  /** Maximum number of events. */
  readonly limit: number
  /** Maximum bytes of the JSON of all events together. The first event is returned even if it is larger. */
  readonly bytesMax: number
}

/** Position of an event in the list of events: newest first and, at equal times, greater ids first. */
export interface EventPosition {
  readonly timeMs: number
  readonly id: string
}
