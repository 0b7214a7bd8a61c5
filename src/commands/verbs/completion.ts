// xdp completion

import { EXIT, type Exit } from '../../diagnostics.ts'
import { choose } from '../cli/choose.ts'
import { SCRIPTS } from '../cli/completion/scripts.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { NO_FLAGS } from '../cli/flags.ts'

export async function run({ stdout }: Context, { positionals }: Arguments<typeof NO_FLAGS>): Promise<Exit> {
  const [shell = ''] = positionals
  stdout(SCRIPTS[choose(Object.keys(SCRIPTS), shell, `there is no completion for "${shell}"`)] ?? '')
  return EXIT.ok
}
