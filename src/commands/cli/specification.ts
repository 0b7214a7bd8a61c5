// A command as data, from which parsing, help, completion and the manual page are made.

import type { Exit } from '../../diagnostics.ts'
import type { Context } from './context.ts'
import type { ArgumentSpec, Arguments, FlagSpecs } from './flag.ts'

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
  /** Behind `argument`. */
  readonly second?: ArgumentSpec
  readonly flags: S
  readonly examples: readonly Example[]
  /** The command reads and compiles no lists. */
  readonly isCacheless?: true
  /** The command reads or writes the history of applies. */
  readonly usesHistory?: true
  /** Imports the command when it runs, so that other commands start without its code. */
  readonly load: () => Promise<{ readonly run: (context: Context, args: Arguments<S>) => Promise<Exit> }>
}

/**
 * A command for the table. Type-checks `run` against the command's own flags, then erases their type; that is sound,
 * because the parser sets exactly the flags of the command that it calls.
 */
export const command = <const S extends FlagSpecs>(spec: CommandSpec<S>): CommandSpec => spec as unknown as CommandSpec

/** The arguments of a command, in their order. */
export const argumentsOf = ({ argument, second }: CommandSpec): readonly ArgumentSpec[] =>
  [argument, second].flatMap((spec) => spec ?? [])

/** An argument in a line of usage: `NAME`, `[NAME]`, or `[NAME...]`. */
export function usageOf({ name, required, multiple }: ArgumentSpec): string {
  const word = multiple ? `${name}...` : name
  return required ? word : `[${word}]`
}

/** `xdp help COMMAND` is no entry of the table. */
export const HELP = { name: 'help', summary: 'show help, or that of a command' } as const

/** The word that completion scripts call `xdp` with. Neither help nor the manual speaks of it. */
export const COMPLETE = '__complete'

/** The word by which this program becomes a guardian; kernel/host/guardian.ts has the same. */
export const GUARD = '__guard'
