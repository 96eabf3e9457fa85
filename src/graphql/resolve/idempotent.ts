import { createHash } from 'node:crypto'
import type { TrackOptions } from '../../gateway.ts'
import { parseJson, writeJson } from '../../model/json.ts'
import { type GraphQLContext, requireScopeAndTime } from '../context.ts'

export const IDEMPOTENCY_KEY_DESCRIPTION =
  'Makes retries safe: the same key within 24 h is stored once and returns the first result; with another input it is an IDEMPOTENCY_CONFLICT. 1 to 255 visible ASCII characters.'

/**
 * Runs a mutation field. If the field has an idempotency key and succeeded before with the same key and input, returns
 * the stored result, while the store keeps it, and does not call `run`. A retry after a failure calls `run` again. The
 * stored result is the whole value that the field resolves to, so a retry may select other subfields of it. `readInput`
 * is called at once, and only if there is a key. Throws `forbidden`, `invalid_body` if the key is malformed, and
 * `idempotency_conflict` if another request has used the key.
 */
export async function runIdempotently<T>(
  field: string,
  readInput: () => unknown,
  idempotencyKey: string | null | undefined,
  context: GraphQLContext,
  run: (options: TrackOptions) => Promise<T>,
): Promise<T> {
  requireScopeAndTime(context, 'ingest')
  if (idempotencyKey === undefined || idempotencyKey === null) return run({})
  const requestHash = createHash('sha256')
    .update(`${field}\n${writeJson(readInput())}`)
    .digest('hex')
  const { body } = await context.gateway.serveOnce(
    context.principal.project,
    { key: idempotencyKey, requestHash },
    async () => ({ status: 200, body: writeJson(await run({ idempotencyKey })) }),
  )
  // The request hash contains the field's name, so the stored value was written by the same field and is a T.
  return parseJson(body) as T
}
