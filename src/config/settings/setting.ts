export interface Setting<T> {
  /** The name of the environment variable. */
  readonly name: string
  /** The default, as a text of the environment. */
  readonly default: string
  readonly unit: string
  readonly meaning: string
  /**
   * Converts the trimmed text of the variable, or the default if the variable is empty or not set, to a value. Throws
   * an Error whose message continues a sentence that begins with the name of the variable.
   */
  readonly parse: (text: string) => T
}

/** The settings of one part of the program, by their property names. */
export type Settings = Readonly<Record<string, Setting<unknown>>>

export type ValuesOf<S extends Settings> = { readonly [Field in keyof S]: ReturnType<S[Field]['parse']> }
