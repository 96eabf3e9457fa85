import { type ExecutionResult, GraphQLError } from 'graphql'
import { isAsyncIterable, type OperationPlugin } from '../yoga.ts'

/** Subscriptions need a client that accepts streams; such a client also gets in the stream why one cannot begin. */
export function useStreamedSubscriptions(): OperationPlugin {
  return {
    onSubscribe({ context }) {
      if (!context.acceptsStreams) throw notAcceptable()
      return {
        onSubscribeResult({ result, setResult }) {
          if (!isAsyncIterable(result)) setResult(only(result))
        },
      }
    },
  }
}

async function* only(result: ExecutionResult): AsyncGenerator<ExecutionResult, void> {
  yield result
}

function notAcceptable(): GraphQLError {
  const message = 'a subscription is answered as text/event-stream or multipart/mixed;subscriptionSpec=1.0: accept one'
  const http = { status: 406, headers: { accept: 'text/event-stream' } }
  return new GraphQLError(message, { extensions: { code: 'UNSUPPORTED_MEDIA_TYPE', http } })
}
