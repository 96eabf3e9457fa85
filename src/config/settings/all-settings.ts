import { ACCESS_AND_LIMIT_SETTINGS } from './access-and-limits.ts'
import { SERVER_SETTINGS } from './server.ts'
import type { Setting } from './setting.ts'
import { STORAGE_SETTINGS } from './storage-and-retention.ts'

/**
 * All settings (environment variables) in one table, grouped by the part of the program that uses them.
 * docs/configuration.md has the same rows in the same order. Limits that users cannot configure are constants in the
 * code that enforces them; docs/limits.md lists both kinds.
 */
export const SETTINGS_TABLE = { ...SERVER_SETTINGS, ...STORAGE_SETTINGS, ...ACCESS_AND_LIMIT_SETTINGS }

/** All rows of the table, in its order. */
export const ALL_SETTINGS: readonly Setting<unknown>[] = Object.values(SETTINGS_TABLE).flatMap(
  (settings): Setting<unknown>[] => Object.values(settings),
)
