import { GatewayError } from '../../src/model/errors.ts'
import type { Store } from '../../src/store/store.ts'

/**
 * A real store behind a line that can be cut: each verb can be made to fail before or after it is applied, to take as long as a
 * test likes, or to answer something else.
 */
export type Verb = {
  [K in keyof Store]: Store[K] extends (...args: never[]) => Promise<unknown> ? K : never
}[keyof Store]

/** What happens to one call: `proceed` makes it and answers what the store answers. */
export type Fault = (proceed: () => Promise<unknown>) => Promise<unknown>

export class FaultyStore {
  /** The store to hand to what is tested. */
  readonly store: Store
  readonly #calls = new Map<Verb, unknown[][]>()
  readonly #next = new Map<Verb, Fault[]>()
  readonly #standing = new Map<Verb, Fault>()

  constructor(inner: Store) {
    this.store = new Proxy(inner, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target)
        if (typeof member !== 'function') return member
        return (...args: unknown[]) => this.#call(property as Verb, args, () => Reflect.apply(member, target, args))
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

  /** From now on everything goes through. */
  heal(): void {
    this.#next.clear()
    this.#standing.clear()
  }

  #call(verb: Verb, args: unknown[], proceed: () => Promise<unknown>): unknown {
    const calls = this.#calls.get(verb)
    if (calls === undefined) this.#calls.set(verb, [args])
    else calls.push(args)
    const fault = this.#next.get(verb)?.shift() ?? this.#standing.get(verb)
    return fault === undefined ? proceed() : fault(proceed)
  }
}

function unavailable(): GatewayError {
  return new GatewayError('store_unavailable', 'the line is cut')
}

/** The call never reaches the store. */
export const lostRequest: Fault = () => Promise.reject(unavailable())

/** The store does what it was asked to, and nobody hears of it. */
export const lostAnswer: Fault = async (proceed) => {
  await proceed()
  throw unavailable()
}

/** The store answers this without being asked. */
export function answer(value: unknown): Fault {
  return () => Promise.resolve(value)
}

/** A call that waits, before it reaches the store, until it is let go. */
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
