import type { GraphQLSchema } from 'graphql'
import type { InternalErrorLog } from '../context.ts'
import type { PersistedOperationSettings } from '../documents/persisted-operations.ts'
import type { GraphQLLimits } from '../operation-cost.ts'
import { useCompiledVariables } from './plugins/compiled-variables.ts'
import { useDeadline } from './plugins/deadline.ts'
import { useDocumentParsing } from './plugins/document-parsing.ts'
import { useErrorMasking } from './plugins/error-masking.ts'
import { useNamedOperation } from './plugins/named-operation.ts'
import { useOperationIds } from './plugins/operation-ids.ts'
import { useResponseLimit } from './plugins/response-limit.ts'
import { useStreamedSubscriptions } from './plugins/streamed-subscriptions.ts'
import { useValidationRules } from './plugins/validation-rules.ts'
import type { OperationPlugin } from './yoga.ts'

interface PluginSettings {
  readonly limits: GraphQLLimits
  readonly persisted: PersistedOperationSettings
  readonly log: InternalErrorLog
}

/** The plugins that apply to every operation. Yoga calls their hooks of the same kind in this order. */
export function operationPlugins(schema: GraphQLSchema, settings: PluginSettings): readonly OperationPlugin[] {
  const { limits, persisted, log } = settings
  return [
    useOperationIds(persisted), // replaces the id of a persisted document by its text
    useDocumentParsing(limits), // parses; refuses documents and variables that are too large
    useNamedOperation(), // refuses a request that does not identify one operation
    useValidationRules(limits), // adds validation rules, such as no introspection
    useCompiledVariables(schema), // coerces variables and executes
    useStreamedSubscriptions(), // refuses subscriptions of clients that accept no stream
    useDeadline(limits), // responds with an error if a query or mutation runs too long
    useResponseLimit(limits), // replaces query results that are too large by an error
    useErrorMasking(log), // gives errors their codes; logs and hides internal ones
  ]
}
