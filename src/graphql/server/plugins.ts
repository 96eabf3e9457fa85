import type { GraphQLSchema } from 'graphql'
import type { ErrorLog, GraphQLLimits } from '../context.ts'
import type { PersistedSettings } from '../documents/persisted-operations.ts'
import { useAnswerLimit } from './plugins/answer-limit.ts'
import { useCacheControl } from './plugins/cache-control.ts'
import { useCompiledVariables } from './plugins/compiled-variables.ts'
import { useDeadline } from './plugins/deadline.ts'
import { useDocumentLimits } from './plugins/document-limits.ts'
import { useErrorMasking } from './plugins/error-masking.ts'
import { useListLimits } from './plugins/list-limits.ts'
import { useNamedOperation } from './plugins/named-operation.ts'
import { usePersistedOperations } from './plugins/persisted-operations.ts'
import { useStreamedSubscriptions } from './plugins/streamed-subscriptions.ts'
import { useValidationRules } from './plugins/validation-rules.ts'
import type { OperationPlugin } from './yoga.ts'

export interface PluginSettings {
  readonly limits: GraphQLLimits
  readonly persisted: PersistedSettings
  readonly log: ErrorLog
}

/** The rules that every operation passes, in order. */
export function operationPlugins(schema: GraphQLSchema, settings: PluginSettings): readonly OperationPlugin[] {
  const { limits, persisted, log } = settings
  return [
    usePersistedOperations(persisted),
    useDocumentLimits(limits),
    useNamedOperation(),
    useValidationRules(limits),
    useCompiledVariables(schema),
    useListLimits(limits),
    useStreamedSubscriptions(),
    useDeadline(limits),
    useAnswerLimit(limits),
    useCacheControl(),
    useErrorMasking(log),
  ]
}
