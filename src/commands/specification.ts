// What a command and its flags are, as data: parsing, help and everything else about the command line is made from it.

import type { Exit } from '../diagnostics.ts'
import type { Context } from './context.ts'

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

export interface Example {
  readonly line: string
  readonly does: string
}

export interface CommandSpec<S extends FlagSpecs = FlagSpecs> {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** Paragraphs, each wrapped by help. */
  readonly description: readonly string[]
  readonly argument?: ArgumentSpec
  readonly flags: S
  readonly examples: readonly Example[]
  /** Imports the command only when it runs, so that every other command starts without its code. */
  readonly load: () => Promise<{ readonly run: (context: Context, args: Arguments<S>) => Promise<Exit> }>
}

/**
 * A command for the table. Its `run` is checked here against its own flags; the table then forgets which they were,
 * which is sound because the parser fills in exactly the flags of the command it calls.
 */
export const command = <const S extends FlagSpecs>(spec: CommandSpec<S>): CommandSpec => spec as unknown as CommandSpec
