import { compactDocumentOf, documentOf } from './document.ts'
import type { Question } from './question.ts'

/**
 * Writes the code that gets the result of a question: the GraphQL operation, a curl call, or JavaScript for Node and
 * browsers. Texts of the question are quoted for each language, so that none can end a string literal (code injection).
 */

/** Options of the code in a language other than GraphQL. */
export interface CodeOptions {
  /** The origin of the gateway, such as `http://127.0.0.1:4000`. */
  readonly origin: string
  /** Undefined: the code reads the key from a variable. */
  readonly key: string | undefined
}

export const LANGUAGES = ['GraphQL', 'curl', 'fetch'] as const
export type Language = (typeof LANGUAGES)[number]

export function sourceCodeOf(language: Language, question: Question, options: CodeOptions): string {
  switch (language) {
    case 'GraphQL':
      return documentOf(question)
    case 'curl':
      return curlOf(question, options)
    case 'fetch':
      return fetchOf(question, options)
  }
}

function curlOf(question: Question, { origin, key }: CodeOptions): string {
  const body = JSON.stringify({ query: compactDocumentOf(question) })
  const lines = [
    `curl ${question.isLive ? '-N ' : ''}${origin}/graphql`,
    `-H ${key === undefined ? '"Authorization: Bearer $KEY"' : shellQuote(`Authorization: Bearer ${key}`)}`,
    '-H "Content-Type: application/json"',
    ...(question.isLive ? ['-H "Accept: text/event-stream"'] : []),
    `-d ${shellQuote(body)}`,
  ]
  return `${lines.join(' \\\n  ')}\n`
}

function fetchOf(question: Question, { origin, key }: CodeOptions): string {
  const { isLive } = question
  const accept = isLive ? ", accept: 'text/event-stream'" : ''
  return `const key = ${key === undefined ? "'YOUR_KEY'" : scriptQuote(key)}
const query = \`
${templateQuote(documentOf(question))}\`

const response = await fetch('${origin}/graphql', {
  method: 'POST',
  headers: { authorization: \`Bearer \${key}\`, 'content-type': 'application/json'${accept} },
  body: JSON.stringify({ query }),
})
${isLive ? READ_STREAM : READ_RESULT}`
}

const READ_RESULT = `const { data, errors } = await response.json()
if (errors) throw new Error(errors[0].message)
for (const { label, timestamps, values } of data.query.series) console.log(label, timestamps, values)
`

const READ_STREAM = `if (!response.ok) throw new Error(await response.text())
let text = ''
for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
  const events = (text + chunk).split('\\n\\n')
  text = events.pop()
  for (const event of events) {
    const json = /^data: (.+)$/m.exec(event)?.[1]
    if (json) console.log(JSON.parse(json).data.live)
  }
}
`

/** Quotes a text for a POSIX shell, which expands nothing within single quotes. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function scriptQuote(text: string): string {
  return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
}

/** Escapes a text for the inside of a JavaScript template literal. */
function templateQuote(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')
}
