import type { Gateway, TrackOptions } from '../../gateway.ts'
import { assert, GatewayError } from '../../model/errors.ts'
import type { PointLimits, PointSink } from '../../model/point.ts'
import { decodeFluxPoint, decodeParsedPoint, type StoredPoint } from '../../wire/flux-point.ts'
import { readJsonBody } from '../../wire/json-body.ts'
import { writeStoredPoint } from './flux-responses.ts'

/** The dependencies of `storePoint`. */
export interface StorePointOptions {
  readonly gateway: Gateway
  readonly now: () => number
  readonly limits: { readonly points: PointLimits }
}

/** `readJsonBody` parses longer bodies: in steps if they are large, so that parsing does not block the event loop. */
const SHORT_BODY_BYTES_MAX = 16_384

/**
 * Stores the point in the body of a request and returns the response body. If the point is rejected, throws an error
 * with the code and the message of the rejection.
 */
export async function storePoint(
  { gateway, now, limits }: StorePointOptions,
  project: string,
  body: Uint8Array,
  options: TrackOptions,
): Promise<string> {
  const item = body.length > SHORT_BODY_BYTES_MAX ? await readJsonBody(body) : undefined
  let point: StoredPoint | undefined
  const decode = (sink: PointSink): void => {
    point =
      body.length > SHORT_BODY_BYTES_MAX
        ? decodeParsedPoint(item, sink, now(), limits.points)
        : decodeFluxPoint(body, sink, now(), limits.points)
  }
  const [rejected] = await gateway.track(project, decode, options)
  if (rejected !== undefined) throw new GatewayError(rejected.code, rejected.message)
  assert(point !== undefined, 'an item that was not rejected was decoded')
  return writeStoredPoint(point)
}
