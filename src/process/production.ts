/**
 * Sets NODE_ENV to `production` unless it is set. Must be the first import of the program: graphql reads NODE_ENV when
 * it is loaded, and otherwise checks each value for mistakes of developers, which takes a sixth of the time of a
 * request.
 */
process.env['NODE_ENV'] ??= 'production'
