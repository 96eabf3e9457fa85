import type { Telemetry } from '../../src/telemetry/telemetry-interface.ts'

/** Ignores all reports. */
export const NO_TELEMETRY: Telemetry = {
  createResponseCounter: () => () => {},
  countRejectedItems() {},
  observeCommitRound() {},
  observeQuery() {},
  countLostPoints() {},
  readMetricsText: async () => '',
}
