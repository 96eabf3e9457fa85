import { useEffect, useRef, useState } from 'preact/hooks'
import { errorCodeOf, sendOnce } from './gateway.ts'

/** Props of a form that asks for an API key until the gateway accepts one. */
export interface KeyFormProps {
  /** Why the previous key was refused; empty at first. */
  readonly problem: string
  readonly onKey: (key: string) => void
  /** Set if there already is a key that can be kept. */
  readonly onCancel?: (() => void) | undefined
}

export const UNKNOWN_KEY =
  'This key does not exist or was revoked. The gateway printed a key when it first started; npm run keys creates another.'

export function KeyForm({ problem, onKey, onCancel }: KeyFormProps) {
  const input = useRef<HTMLInputElement>(null)
  const [hint, setHint] = useState(problem)
  const [isBusy, setBusy] = useState(false)
  useEffect(() => setHint(problem), [problem])
  useEffect(() => input.current?.focus(), [])
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    const key = input.current?.value.trim() ?? ''
    setBusy(true)
    const newProblem = await problemOf(key)
    setBusy(false)
    if (newProblem === undefined) return onKey(key)
    setHint(newProblem)
    input.current?.focus()
    input.current?.select()
  }
  return (
    <form class="key-form" aria-label="Sign in" onSubmit={submit} aria-busy={isBusy}>
      <div class="key-card">
        <h1>
          <Logo />
          GaugeQL
        </h1>
        <label for="key">API key</label>
        <div class="key-row">
          <input
            id="key"
            ref={input}
            type="password"
            autocomplete="off"
            spellcheck={false}
            required
            placeholder="gq_…"
            aria-invalid={hint !== ''}
            aria-describedby="key-hint"
          />
          <button type="submit" class="primary">
            Open
          </button>
        </div>
        <p id="key-hint" role="alert">
          {hint}
        </p>
        <p>The gateway printed a key when it first started. The key stays in this browser tab.</p>
        {onCancel !== undefined && (
          <button type="button" class="link" onClick={onCancel}>
            Keep the current key
          </button>
        )}
      </div>
    </form>
  )
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" width="28" height="28" fill="none" stroke-width="3" aria-hidden="true">
      <g stroke-linecap="round">
        <path class="logo-arc" d="M6 25a13 13 0 1 1 20 0" />
        <path class="logo-needle" d="M16 17l6-7" />
        <circle class="logo-hub" cx="16" cy="17" r="2.4" stroke="none" />
        <path class="logo-base" d="M9 28h14" />
      </g>
    </svg>
  )
}

/** Asks the gateway whether it accepts a key. Returns why the key cannot be used; undefined if it can. */
async function problemOf(key: string): Promise<string | undefined> {
  // The gateway accepts only visible ASCII in a key, and browsers refuse many other characters in a header.
  if (!/^[\x21-\x7e]+$/.test(key)) return 'A key has only letters, digits and punctuation.'
  const result = await sendOnce({ query: '{ __typename }' }, { key })
  const code = errorCodeOf(result)
  if (code === undefined) return undefined
  if (code === 'INVALID_API_KEY') return UNKNOWN_KEY
  return `The key could not be tried: ${result.errors?.[0]?.message ?? code}.`
}
