/**
 * Globs with `*` (any text), `?` (one character) and a backslash that escapes the next character. A pattern is matched
 * by an automaton whose states are bits of a few words, with one step per character. So no pattern is slow: the work is
 * proportional to the length of the text times the length of the pattern divided by 32 (Baeza-Yates, Gonnet: "A new
 * approach to text searching", 1992).
 */
type Glob = (text: string) => boolean

const WORD_BITS = 32

/** Compiles a pattern to a function that tests texts. A backslash at the end of the pattern matches itself. */
export function compileGlob(pattern: string): Glob {
  const { tokens, looping } = readTokens(pattern)
  // State i means that the first i tokens have matched. There is one more state than tokens.
  const words = Math.floor(tokens.length / WORD_BITS) + 1
  const loops = bitsOf(looping, words)
  const anyCharacter = bitsOf(
    tokens.flatMap((token, i) => (token === undefined ? [i] : [])),
    words,
  )
  const steps = new Map<number, Int32Array>()
  for (const [i, token] of tokens.entries()) {
    if (token === undefined) continue
    const step = steps.get(token) ?? anyCharacter.slice()
    step[i >> 5]! |= 1 << (i & 31)
    steps.set(token, step)
  }
  const acceptWord = tokens.length >> 5
  const acceptBit = 1 << (tokens.length & 31)
  return (text) => {
    const states = new Int32Array(words)
    states[0] = 1
    for (let at = 0; at < text.length; at++) {
      const character = text.codePointAt(at)!
      if (character > 0xffff) at++
      const step = steps.get(character) ?? anyCharacter
      let carry = 0
      for (let word = 0; word < words; word++) {
        const current = states[word]!
        const moved = current & step[word]!
        states[word] = (moved << 1) | carry | (current & loops[word]!)
        carry = moved >>> 31
      }
    }
    return (states[acceptWord]! & acceptBit) !== 0
  }
}

/**
 * Divides a pattern into tokens: a code point, or undefined for any character. `looping` lists the states in which the
 * text may have further characters, one for each `*`.
 */
function readTokens(pattern: string): { readonly tokens: (number | undefined)[]; readonly looping: number[] } {
  const tokens: (number | undefined)[] = []
  const looping: number[] = []
  const characters = [...pattern]
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i]!
    if (character === '*') looping.push(tokens.length)
    else if (character === '?') tokens.push(undefined)
    else if (character === '\\' && i + 1 < characters.length) tokens.push(characters[++i]!.codePointAt(0))
    else tokens.push(character.codePointAt(0))
  }
  return { tokens, looping }
}

function bitsOf(positions: readonly number[], words: number): Int32Array {
  const bits = new Int32Array(words)
  for (const position of positions) bits[position >> 5]! |= 1 << (position & 31)
  return bits
}
