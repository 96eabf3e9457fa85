/**
 * Sets NODE_ENV to `production` unless it is set. Must be the first import of the program, because the graphql package
 * reads NODE_ENV when it is loaded. Without `production` it checks each value for mistakes of developers, which takes a
 * sixth of the time of a GraphQL request.
 */
process.env['NODE_ENV'] ??= 'production'
