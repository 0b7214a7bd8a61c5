// Flags and arguments of commands as data, from which parsing, help and completion are made.

/**
 * The completions of a value: these words, or names of a kind. A word that ends with a colon is only a beginning.
 * Without `completes` the shell offers nothing.
 */
export type Completes = readonly string[] | 'file' | 'directory' | 'interface' | 'instance'

export interface FlagSpec {
  readonly type: 'boolean' | 'string'
  /** The flag may be repeated. */
  readonly multiple?: true
  /** One letter. */
  readonly short?: string
  /** Placeholder of the value in help. */
  readonly value?: string
  readonly help: string
  readonly completes?: Completes
}

export interface ArgumentSpec {
  readonly name: string
  readonly required: boolean
  /** The argument may be repeated; only the last one of a command. */
  readonly multiple?: true
  readonly help: string
  readonly completes?: Completes
}

export type FlagSpecs = Readonly<Record<string, FlagSpec>>

type ValueOf<F extends FlagSpec> = F extends { readonly type: 'boolean' }
  ? boolean
  : F extends { readonly multiple: true }
    ? readonly string[]
    : string | undefined

/** The parsed values of a set of flags: missing booleans are false, missing lists empty. */
export type Options<S extends FlagSpecs> = { readonly [K in keyof S]: ValueOf<S[K]> }

export interface Arguments<S extends FlagSpecs> {
  readonly positionals: readonly string[]
  readonly options: Options<S>
}
