import '../src/process/production.ts'
import { createServer } from 'node:http'
import { createYoga } from 'graphql-yoga'
import { pino } from 'pino'
import { readConfig } from '../src/config/config.ts'
import type { GraphQLContext } from '../src/graphql/context.ts'
import { schema } from '../src/graphql/schema.ts'
import { graphqlLimitsOf } from '../src/process/combined-limits.ts'
import { startInThisProcess } from '../src/process/start.ts'

/**
 * The comparison for the gateway's GraphQL: the same schema and resolvers on the same kind of gateway, served by
 * graphql-yoga as its manual describes, with a key lookup for each request and without limits. Like the gateway it runs
 * graphql-js in production mode, which skips developer checks.
 */
const config = readConfig(process.env)
const { gateway, close } = await startInThisProcess(config, pino({ level: 'silent' }))

const yoga = createYoga<object, GraphQLContext>({
  schema,
  logging: false,
  graphiql: false,
  context: async ({ request }) => {
    const key = /^Bearer (\S+)$/.exec(request.headers.get('authorization') ?? '')?.[1]
    const principal = key === undefined ? undefined : await gateway.authenticate(key)
    if (principal === undefined) throw new Error('no such key')
    const limits = graphqlLimitsOf(config)
    return {
      requestId: '',
      acceptsStreams: true,
      gateway,
      principal,
      limits,
      now: Date.now,
      queryBudget: { queriesLeft: limits.queriesMax },
      responseFieldBudget: { fieldsLeft: limits.responseFieldsMax, isExceeded: false },
      session: gateway.openSession(),
      deadline: { hasPassed: false },
    }
  },
})

const server = createServer(yoga)
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.stdout.write(`http://127.0.0.1:${address.port}\n`)
})
process.on('SIGTERM', () => {
  server.closeAllConnections()
  server.close(() => close().then(() => process.exit(0)))
})
