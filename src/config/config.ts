import { type Setting, type Settings, TABLE, type ValuesOf } from './settings.ts'

/**
 * The configuration of a gateway, read once from the environment. Its type is derived from the table of settings: one
 * section for each owner, which gets its section as a whole.
 */
export type Config = {
  readonly [Owner in keyof typeof TABLE]: ValuesOf<(typeof TABLE)[Owner]>
} & {
  readonly http: {
    /** Whether PORT is set. If so, a port in use is an error. */
    readonly portIsFixed: boolean
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads all settings. Throws an Error that names the variable whose value cannot be used. Ignores unknown variables.
 */
export function readConfig(env: Environment): Config {
  const config = {
    http: { ...readValues(TABLE.http, env), portIsFixed: Boolean(env['PORT']?.trim()) },
    process: readValues(TABLE.process, env),
    store: readValues(TABLE.store, env),
    redis: readValues(TABLE.redis, env),
    access: readValues(TABLE.access, env),
    limits: readValues(TABLE.limits, env),
    points: readValues(TABLE.points, env),
    write: readValues(TABLE.write, env),
    fold: readValues(TABLE.fold, env),
    query: readValues(TABLE.query, env),
    graphql: readValues(TABLE.graphql, env),
    persisted: readValues(TABLE.persisted, env),
    live: readValues(TABLE.live, env),
  }
  requireConsistent(config)
  return config
}

/** Whether the store is Redis; otherwise it is the embedded store. */
export function usesRedis({ redis }: Config): boolean {
  return redis.url !== undefined || redis.clusterNodes.length > 0
}

/** Refuses values that are valid alone and do not work together. */
function requireConsistent(config: Config): void {
  const { store, process, persisted } = config
  if (store.resolutions.at(-1)!.stepMs !== store.setResolutions.at(-1)!.stepMs)
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
