// Flags and arguments of commands as data: parsing, help and completion are made from them.

/**
 * What a shell offers for a value: these words (one that ends with a colon is not the end of it), or names of a kind.
 * Nothing is offered where it is not said.
 */
export type Completes = readonly string[] | 'file' | 'directory' | 'interface' | 'instance'

export interface FlagSpec {
  readonly type: 'boolean' | 'string'
  /** May be given several times. */
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
  readonly help: string
  readonly completes?: Completes
}

export type FlagSpecs = Readonly<Record<string, FlagSpec>>

type ValueOf<F extends FlagSpec> = F extends { readonly type: 'boolean' }
  ? boolean
  : F extends { readonly multiple: true }
    ? readonly string[]
    : string | undefined

/** The parsed values of a set of flags: absent booleans are false, absent lists empty. */
export type Options<S extends FlagSpecs> = { readonly [K in keyof S]: ValueOf<S[K]> }

export interface Arguments<S extends FlagSpecs> {
  readonly positionals: readonly string[]
  readonly options: Options<S>
}
