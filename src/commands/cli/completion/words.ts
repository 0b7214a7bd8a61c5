// What the completion scripts of all shells have in common.

import type { FlagSpec, FlagSpecs } from '../flag.ts'
import { GLOBAL_FLAGS } from '../flags.ts'
import type { CommandSpec } from '../specification.ts'

export const GLOBALS: FlagSpecs = GLOBAL_FLAGS

/** `xdp help COMMAND` is no entry of the table. */
export const HELP = { name: 'help', summary: 'show help, or that of a command' } as const

/** A flag as it is typed: `-f` and `--file`, or `--json`. */
export const spellings = (name: string, { short }: FlagSpec): string[] => [
  ...(short === undefined ? [] : [`-${short}`]),
  `--${name}`,
]

/** Every way to type a flag that a value follows, of all commands, each once. */
export function valueFlags(commands: readonly CommandSpec[]): string[] {
  const all = [GLOBALS, ...commands.map(({ flags }) => flags)].flatMap((flags) => Object.entries(flags))
  const typed = all.filter(([, { type }]) => type === 'string').flatMap(([name, spec]) => spellings(name, spec))
  return [...new Set(typed)]
}

/** Text between single quotes, as sh, bash and zsh read it. */
export const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
