import { createHash } from 'node:crypto'
import type { TrackOptions } from '../../gateway.ts'
import { parseJson, writeJson } from '../../model/json.ts'
import { type GraphQLContext, requireScope } from '../context.ts'

export const KEY_DESCRIPTION =
  'The same key within 24 h counts once and gets the first answer again; with other input it is an IDEMPOTENCY_CONFLICT. 1 to 255 visible ASCII characters.'

/**
 * What a field answers, with a key once. The same is what has the same field and the same input; the answer is kept as the
 * value that the field resolves to, so that a retry may select other fields of it.
 */
export async function once<T>(
  field: string,
  input: unknown,
  idempotencyKey: string | null | undefined,
  context: GraphQLContext,
  serve: (options: TrackOptions) => Promise<T>,
): Promise<T> {
  requireScope(context, 'ingest')
  if (idempotencyKey === undefined || idempotencyKey === null) return serve({})
  const requestHash = createHash('sha256')
    .update(`${field}\n${writeJson(input)}`)
    .digest('hex')
  const { body } = await context.gateway.once(
    context.principal.project,
    { key: idempotencyKey, requestHash },
    async () => ({ status: 200, body: writeJson(await serve({ idempotencyKey })) }),
  )
  // What an equal request has been answered with: the hash says so.
  return parseJson(body) as T
}
