import type { Telemetry } from '../../src/telemetry/telemetry-interface.ts'

/** Ignores all reports. */
export const NO_TELEMETRY: Telemetry = {
  createResponseCounter: () => () => {},
  countRejectedItems() {},
  observeCommitStep() {},
  observeQuery() {},
  countLostPoints() {},
  readMetricsText: async () => '',
}
