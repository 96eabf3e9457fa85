/** Parsed JSON of a response. A test reads the properties that it expects; a wrong one is undefined and fails it. */
export type Json = ReturnType<typeof JSON.parse>
