import { useEffect, useState } from 'preact/hooks'

const OUTCOME_SHOWN_MS = 1_500

/** A button that copies a text and shows whether that succeeded. */
export function CopyButton({ text }: { readonly text: string }) {
  const [outcome, setOutcome] = useState<'' | 'Copied' | 'Select and copy by hand'>('')
  useEffect(() => {
    if (outcome === '') return
    const timer = setTimeout(() => setOutcome(''), OUTCOME_SHOWN_MS)
    return () => clearTimeout(timer)
  }, [outcome])
  const copy = async (): Promise<void> => {
    try {
      // Browsers refuse clipboard access to pages loaded over plain HTTP from another machine.
      await navigator.clipboard.writeText(text)
      setOutcome('Copied')
    } catch {
      setOutcome('Select and copy by hand')
    }
  }
  return (
    <button type="button" class="copy" onClick={copy} aria-live="polite">
      {outcome === '' ? 'Copy' : outcome}
    </button>
  )
}
