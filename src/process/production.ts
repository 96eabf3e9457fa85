/**
 * Must be the first import of the program. When graphql is loaded, it reads NODE_ENV to decide whether to check each
 * value for mistakes of developers, which would cost a sixth of a request.
 */
process.env['NODE_ENV'] ??= 'production'
