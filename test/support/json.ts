/** Parsed JSON of a response. A test reads the properties that it expects; a wrong one is undefined and fails it. */
// biome-ignore lint/suspicious/noExplicitAny: a type for each response would repeat what the expectations say
export type Json = any
