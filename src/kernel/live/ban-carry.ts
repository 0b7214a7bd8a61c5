// Takes bans over into the table of a new generation, which has another size.

import { ran } from '../../abi/answer.ts'
import { plainRun } from '../../abi/command.ts'
import { fail, XdpError } from '../../diagnostics.ts'
import { doNotFit } from '../../model/ban-size.ts'
import { askBatch } from '../tools/bpftool.ts'
import { ATTEMPTS, type BanAccess, launcherOf, locked } from './ban-write.ts'

/** Return values of ban_carry. */
const CARRIED = 0
const CARRIED_FULL = 1

/**
 * Takes bans over by a pinned ban_carry into a table of `size` bans. Throws E136 if they do not fit, E106 if the lock stays
 * held.
 */
export async function carryBans(lock: BanAccess['lock'], program: string, size: number): Promise<void> {
  const launcher = await launcherOf({ lock })
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const [run] = await locked(() => askBatch(ran, [plainRun(program)], launcher))
    if (run?.retval === CARRIED) return
    if (run?.retval === CARRIED_FULL) throw new XdpError([doNotFit(size)])
  }
  throw fail('E109', 'the kernel has no memory for the bans in a table of another size; the live policy is untouched')
}
