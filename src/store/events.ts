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
  /** Cursor: the page starts after this event. The list is sorted newest first. Undefined: the first page. */
  readonly after?: EventPlace
  /** Maximum number of events. */
  readonly limit: number
  /** Maximum bytes of the events' JSON. */
  readonly bytesMax: number
}

/** Position of an event in the list: events are sorted by time, then by id. */
export interface EventPlace {
  readonly timeMs: number
  readonly id: string
}
