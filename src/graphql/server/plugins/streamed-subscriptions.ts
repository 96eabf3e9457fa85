import { GraphQLError } from 'graphql'
import { isAsyncIterable, type OperationPlugin, streamOfOne } from '../yoga.ts'

/**
 * Refuses subscriptions of clients that accept no stream. For other clients, a subscription that fails to start becomes
 * a stream with one result, the error.
 */
export function useStreamedSubscriptions(): OperationPlugin {
  return {
    onSubscribe({ context }) {
      if (!context.acceptsStreams) throw notAcceptableError()
      return {
        onSubscribeResult({ result, setResult }) {
          if (!isAsyncIterable(result)) setResult(streamOfOne(result))
        },
      }
    },
  }
}

function notAcceptableError(): GraphQLError {
  const message = 'subscriptions need Accept: text/event-stream or multipart/mixed;subscriptionSpec=1.0'
  const http = { status: 406, headers: { accept: 'text/event-stream' } }
  return new GraphQLError(message, { extensions: { code: 'UNSUPPORTED_MEDIA_TYPE', http } })
}
