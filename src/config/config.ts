import { SETTINGS_TABLE } from './settings/all-settings.ts'
import type { Setting, Settings, ValuesOf } from './settings/setting.ts'

/**
 * The configuration of a gateway, read once from the environment. It has one section per part of the program, such as
 * `fold`. The type is derived from the table of settings.
 */
export type Config = {
  readonly [Section in keyof typeof SETTINGS_TABLE]: ValuesOf<(typeof SETTINGS_TABLE)[Section]>
} & {
  readonly http: {
    /** Whether PORT is set. If it is, a port in use is an error; if not, the next ports are tried. */
    readonly isPortFixed: boolean
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads all settings. Throws an Error that names the variable whose value cannot be used. Ignores unknown variables.
 */
export function readConfig(env: Environment): Config {
  const config = {
    http: { ...readValues(SETTINGS_TABLE.http, env), isPortFixed: Boolean(env['PORT']?.trim()) },
    process: readValues(SETTINGS_TABLE.process, env),
    store: readValues(SETTINGS_TABLE.store, env),
    redis: readValues(SETTINGS_TABLE.redis, env),
    access: readValues(SETTINGS_TABLE.access, env),
    limits: readValues(SETTINGS_TABLE.limits, env),
    points: readValues(SETTINGS_TABLE.points, env),
    write: readValues(SETTINGS_TABLE.write, env),
    fold: readValues(SETTINGS_TABLE.fold, env),
    query: readValues(SETTINGS_TABLE.query, env),
    graphql: readValues(SETTINGS_TABLE.graphql, env),
    persisted: readValues(SETTINGS_TABLE.persisted, env),
    live: readValues(SETTINGS_TABLE.live, env),
  }
  requireConsistent(config)
  return config
}

/** Whether the store is Redis; otherwise it is the embedded store. */
export function usesRedis({ redis }: Config): boolean {
  return redis.url !== undefined || redis.clusterNodes.length > 0
}

/** Throws if two settings are valid individually but contradict each other. */
function requireConsistent(config: Config): void {
  const { store, process, persisted } = config
  if (store.resolutions.at(-1)!.bucketWidthMs !== store.setResolutions.at(-1)!.bucketWidthMs)
    throw new Error('SET_RESOLUTIONS must end with the same step as RESOLUTIONS')
  if (process.processes > 1 && !usesRedis(config))
    throw new Error('GATEWAY_PROCESSES above 1 needs Redis (REDIS_URL): the embedded store serves one process')
  if (persisted.mode === 'enforced' && persisted.operations === '')
    throw new Error('GRAPHQL_OPERATIONS must be set when GRAPHQL_PERSISTED is enforced: nothing could run')
}

function readValues<S extends Settings>(settings: S, env: Environment): ValuesOf<S> {
  const values = Object.entries(settings).map(([field, setting]) => [field, readValue(setting, env)] as const)
  return Object.fromEntries(values) as ValuesOf<S>
}

function readValue<T>(setting: Setting<T>, env: Environment): T {
  try {
    return setting.parse(env[setting.name]?.trim() || setting.default)
  } catch (error) {
    throw new Error(`${setting.name} ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
