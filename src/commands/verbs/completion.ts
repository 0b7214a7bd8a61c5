// xdp completion

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'
import { SCRIPTS } from '../cli/completion/scripts.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { NO_FLAGS } from '../cli/flags.ts'

export async function run({ stdout }: Context, { positionals }: Arguments<typeof NO_FLAGS>): Promise<Exit> {
  const [shell = ''] = positionals
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined
  if (script === undefined) {
    const meant = nearest(shell, Object.keys(SCRIPTS))
    const hint = meant === undefined ? `there are ${Object.keys(SCRIPTS).join(', ')}` : `did you mean ${meant}?`
    throw fail('E300', `there is no completion for "${shell}"`, hint)
  }
  stdout(script)
  return EXIT.ok
}
