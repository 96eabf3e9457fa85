/**
 * Globs with `*` (any text), `?` (one character) and a backslash that escapes the next character. A pattern is compiled
 * to a nondeterministic automaton with one bit per state (the bitap algorithm; Baeza-Yates, Gonnet: "A new approach to
 * text searching", 1992). There is no backtracking, so no pattern is slow: the time is proportional to the length of
 * the text times the length of the pattern, divided by 32.
 */
type Glob = (text: string) => boolean

const WORD_BITS = 32

/** Compiles a pattern to a function that tests texts. A backslash at the end of the pattern matches itself. */
export function compileGlob(pattern: string): Glob {
  const { tokens, loopStates } = readTokens(pattern)
  // Bit i is set while the text so far can match the first i tokens, so there is one more state than tokens.
  const wordCount = Math.floor(tokens.length / WORD_BITS) + 1
  const loopBits = bitsOf(loopStates, wordCount)
  const anyCharacterBits = bitsOf(
    tokens.flatMap((token, i) => (token === undefined ? [i] : [])),
    wordCount,
  )
  const advanceBitsByCharacter = new Map<number, Int32Array>()
  for (const [i, token] of tokens.entries()) {
    if (token === undefined) continue
    const advance = advanceBitsByCharacter.get(token) ?? anyCharacterBits.slice()
    advance[i >> 5]! |= 1 << (i & 31)
    advanceBitsByCharacter.set(token, advance)
  }
  const acceptWord = tokens.length >> 5
  const acceptBit = 1 << (tokens.length & 31)
  return (text) => {
    const states = new Int32Array(wordCount)
    states[0] = 1
    for (let index = 0; index < text.length; index++) {
      const character = text.codePointAt(index)!
      if (character > 0xffff) index++
      const advance = advanceBitsByCharacter.get(character) ?? anyCharacterBits
      let carry = 0
      for (let word = 0; word < wordCount; word++) {
        const stateWord = states[word]!
        const advanced = stateWord & advance[word]!
        states[word] = (advanced << 1) | carry | (stateWord & loopBits[word]!)
        carry = advanced >>> 31
      }
    }
    return (states[acceptWord]! & acceptBit) !== 0
  }
}

/**
 * Divides a pattern into tokens: a code point, or undefined for any character. `loopStates` has one state for each `*`:
 * the automaton stays in this state on any character.
 */
function readTokens(pattern: string): { readonly tokens: (number | undefined)[]; readonly loopStates: number[] } {
  const tokens: (number | undefined)[] = []
  const loopStates: number[] = []
  const characters = [...pattern]
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i]!
    if (character === '*') loopStates.push(tokens.length)
    else if (character === '?') tokens.push(undefined)
    else if (character === '\\' && i + 1 < characters.length) tokens.push(characters[++i]!.codePointAt(0))
    else tokens.push(character.codePointAt(0))
  }
  return { tokens, loopStates }
}

function bitsOf(positions: readonly number[], wordCount: number): Int32Array {
  const bits = new Int32Array(wordCount)
  for (const position of positions) bits[position >> 5]! |= 1 << (position & 31)
  return bits
}
