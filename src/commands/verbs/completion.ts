// xdp completion

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'
import { bashCompletion } from '../cli/completion/bash.ts'
import { fishCompletion } from '../cli/completion/fish.ts'
import { zshCompletion } from '../cli/completion/zsh.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { NO_FLAGS } from '../cli/flags.ts'
import type { CommandSpec } from '../cli/specification.ts'

const SHELLS: Readonly<Record<string, typeof bashCompletion>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
}

/** Makes the completion command for these commands, itself included. */
export const completionOf =
  (commands: readonly CommandSpec[]) =>
  async ({ stdout }: Context, { positionals }: Arguments<typeof NO_FLAGS>): Promise<Exit> => {
    const [shell = ''] = positionals
    const make = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined
    if (make === undefined) {
      const meant = nearest(shell, Object.keys(SHELLS))
      const hint = meant === undefined ? `write one of ${Object.keys(SHELLS).join(', ')}` : `did you mean ${meant}?`
      throw fail('E300', `"${shell}" is not a shell with completion`, hint)
    }
    stdout(make(commands))
    return EXIT.ok
  }
