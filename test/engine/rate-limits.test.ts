import { describeRateLimits } from './rate-limits.ts'

describeRateLimits('the embedded store', () => ({}))
