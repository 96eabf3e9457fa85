/**
 * Imported before everything else: graphql decides as it is loaded whether to look for mistakes of developers at each value, which
 * costs a sixth of a request.
 */
process.env['NODE_ENV'] ??= 'production'
