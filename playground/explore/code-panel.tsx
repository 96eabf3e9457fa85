import { useRef, useState } from 'preact/hooks'
import { LANGUAGES, type Language, sourceCodeOf } from '../question/code.ts'
import { documentOf } from '../question/document.ts'
import type { Question } from '../question/question.ts'
import { graphiqlAddress } from '../session/fragment.ts'
import { CopyButton } from './copy-button.tsx'

/** A panel that shows the question as GraphQL, curl or JavaScript code to copy. */
export function CodePanel({ question, apiKey }: { readonly question: Question; readonly apiKey: string }) {
  const [language, setLanguage] = useState<Language>('GraphQL')
  const [includesKey, setIncludesKey] = useState(false)
  const tabs = useRef<HTMLDivElement>(null)
  const code = sourceCodeOf(language, question, { origin: location.origin, key: includesKey ? apiKey : undefined })
  const chooseNeighbour = ({ key }: KeyboardEvent): void => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key]
    if (step === undefined) return
    const index = (LANGUAGES.indexOf(language) + step + LANGUAGES.length) % LANGUAGES.length
    setLanguage(LANGUAGES[index]!)
    tabs.current?.querySelectorAll('button')[index]?.focus()
  }
  return (
    <section class="card code-panel" aria-labelledby="code-title">
      <div class="card-head">
        <h2 id="code-title">The same question as code</h2>
        <div class="tabs" role="tablist" aria-label="Language" ref={tabs} onKeyDown={chooseNeighbour}>
          {LANGUAGES.map((name) => (
            <button
              key={name}
              type="button"
              role="tab"
              id={`code-tab-${name}`}
              aria-selected={name === language}
              aria-controls="code-text"
              tabIndex={name === language ? 0 : -1}
              onClick={() => setLanguage(name)}
            >
              {name}
            </button>
          ))}
        </div>
        <div class="card-actions">
          {language !== 'GraphQL' && (
            <label class="check">
              <input type="checkbox" checked={includesKey} onChange={() => setIncludesKey(!includesKey)} />
              with my key
            </label>
          )}
          <a class="button" href={graphiqlAddress(documentOf(question))}>
            Open in GraphiQL
          </a>
        </div>
      </div>
      <div class="code" role="tabpanel" id="code-text" aria-labelledby={`code-tab-${language}`}>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it may scroll */}
        <pre tabIndex={0}>
          <code>{code}</code>
        </pre>
        <CopyButton text={code} />
      </div>
    </section>
  )
}
