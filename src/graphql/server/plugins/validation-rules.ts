import type { GraphQLLimits } from '../../context.ts'
import { NoIntrospectionRule, UnconditionalSubscriptionRule } from '../../documents/validation-rules.ts'
import type { OperationPlugin } from '../yoga.ts'

/** Validation rules beside those of the specification; one of them is the switch for introspection. */
export function useValidationRules({ introspection }: GraphQLLimits): OperationPlugin {
  return {
    onValidate({ addValidationRule }) {
      addValidationRule(UnconditionalSubscriptionRule)
      if (!introspection) addValidationRule(NoIntrospectionRule)
    },
  }
}
