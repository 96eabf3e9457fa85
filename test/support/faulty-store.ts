import { GatewayError } from '../../src/model/errors.ts'
import type { Store } from '../../src/store/store.ts'

/**
 * A real store behind a line that can be cut: each verb can be made to fail before or after it is applied, to take as
 * long as a test likes, or to answer something else.
 */
export type Verb = {
  [K in keyof Store]: Store[K] extends (...args: never[]) => Promise<unknown> ? K : never
}[keyof Store]

/** What happens to one call: `proceed` makes it and answers what the store answers. */
export type Fault = (proceed: () => Promise<unknown>) => Promise<unknown>

/** A fault that looks at the arguments of the call. */
export type FaultOf<V extends Verb> = (proceed: () => Promise<unknown>, args: Parameters<Store[V]>) => Promise<unknown>

export interface FaultyStoreOptions {
  /** Replaces what the store says. */
  readonly mayLoseWrites?: boolean
  /** The same for the groups of its partitions. */
  readonly groups?: Store['groups']
}

export class FaultyStore {
  /** The store to hand to what is tested. */
  readonly store: Store
  /** Replaces what the store says, unless undefined. */
  hasRoomForLargeWrites: boolean | undefined
  readonly #calls = new Map<Verb, unknown[][]>()
  readonly #next = new Map<Verb, Fault[]>()
  readonly #standing = new Map<Verb, (proceed: () => Promise<unknown>, args: never) => Promise<unknown>>()
  readonly #underWay = new Set<Promise<unknown>>()
  #stopped: Promise<void> | undefined
  #inner: Store

  constructor(inner: Store, { mayLoseWrites = inner.mayLoseWrites, groups = inner.groups }: FaultyStoreOptions = {}) {
    this.#inner = inner
    this.store = new Proxy(inner, {
      get: (_, property) => {
        if (property === 'mayLoseWrites') return mayLoseWrites
        if (property === 'groups') return groups
        if (property === 'hasRoomForLargeWrites') return this.hasRoomForLargeWrites ?? this.#inner.hasRoomForLargeWrites
        const member: unknown = Reflect.get(this.#inner, property, this.#inner)
        if (typeof member !== 'function') return member
        return (...args: unknown[]) => this.#call(property as Verb, args)
      },
    })
  }

  /** The arguments of every call of a verb so far, failed ones included. */
  calls<V extends Verb>(verb: V): readonly Parameters<Store[V]>[] {
    return (this.#calls.get(verb) ?? []) as Parameters<Store[V]>[]
  }

  /** The faults of the next calls of a verb, one each. */
  next(verb: Verb, ...faults: readonly Fault[]): void {
    this.#next.set(verb, [...(this.#next.get(verb) ?? []), ...faults])
  }

  /** The fault of every call of a verb that no `next` is for. */
  always(verb: Verb, fault: Fault): void {
    this.#standing.set(verb, fault)
  }

  /** The same by what a call asks for. */
  alwaysOf<V extends Verb>(verb: V, fault: FaultOf<V>): void {
    this.#standing.set(verb, fault)
  }

  /** Does something while no call is under way; calls that come meanwhile wait. */
  async inSilence(act: () => Promise<void>): Promise<void> {
    let resume = (): void => {}
    this.#stopped = new Promise((resolve) => {
      resume = resolve
    })
    await Promise.allSettled(this.#underWay)
    try {
      await act()
    } finally {
      this.#stopped = undefined
      resume()
    }
  }

  /** From now on another store answers: the same one as it was earlier, say. */
  replace(inner: Store): void {
    this.#inner = inner
  }

  /** From now on everything goes through. */
  heal(): void {
    this.#next.clear()
    this.#standing.clear()
  }

  #call(verb: Verb, args: unknown[]): unknown {
    if (this.#stopped !== undefined) return this.#stopped.then(() => this.#call(verb, args))
    const result = this.#make(verb, args)
    if (!(result instanceof Promise)) return result
    this.#underWay.add(result)
    const end = (): void => {
      this.#underWay.delete(result)
    }
    result.then(end, end)
    return result
  }

  #make(verb: Verb, args: unknown[]): unknown {
    const proceed = (): Promise<unknown> => Reflect.apply(this.#inner[verb], this.#inner, args)
    const calls = this.#calls.get(verb)
    if (calls === undefined) this.#calls.set(verb, [args])
    else calls.push(args)
    const fault = this.#next.get(verb)?.shift() ?? this.#standing.get(verb)
    return fault === undefined ? proceed() : fault(proceed, args as never)
  }
}

function unavailable(): GatewayError {
  return new GatewayError('store_unavailable', 'the line is cut')
}

/** The call never reaches the store. */
export const lostRequest: Fault = () => Promise.reject(unavailable())

/** The store runs the call, and its response is lost. */
export const lostResponse: Fault = async (proceed) => {
  await proceed()
  throw unavailable()
}

/** Returns this value; the call does not reach the store. */
export function respondWith(value: unknown): Fault {
  return () => Promise.resolve(value)
}

/** A call that waits, before it reaches the store, until `open` is called. */
export function gate(): { readonly fault: Fault; readonly reached: Promise<void>; open(): void } {
  let arrive = (): void => {}
  let open = (): void => {}
  const reached = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return {
    reached,
    open,
    fault: async (proceed) => {
      arrive()
      await opened
      return proceed()
    },
  }
}
