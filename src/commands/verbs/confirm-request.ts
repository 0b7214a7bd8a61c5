// The flags --confirm and --confirm-on, and `limits.confirm`: the confirmation that an apply waits for.

import { fail } from '../../diagnostics.ts'
import type { ConfirmOn, ConfirmRequest } from '../../model/confirmation.ts'
import type { Desired } from '../../model/desired.ts'
import { readConfirmOn } from '../../pipelines/confirm.ts'
import type { Options } from '../cli/flag.ts'
import type { ROLLBACK_FLAGS } from '../cli/flags.ts'
import { confirmTime } from './confirm.ts'

type WaitOptions = Pick<Options<typeof ROLLBACK_FLAGS>, 'confirm' | 'confirm-on'>

/**
 * The SSH connections that confirm; undefined: the flag is not there. Throws E300 for another word and without a time to
 * confirm, E260 outside of an SSH session.
 */
export async function confirmOn({ confirm, 'confirm-on': word }: WaitOptions): Promise<ConfirmOn | undefined> {
  if (word === undefined) return undefined
  if (word !== 'ssh') throw fail('E300', `--confirm-on "${word}" is unknown`, '--confirm-on ssh')
  if (confirm === 'off') throw withoutTime('--confirm off waits for no confirmation')
  return readConfirmOn()
}

const withoutTime = (why: string) =>
  fail('E300', `--confirm-on needs a time to confirm: ${why}`, 'xdp apply --confirm 2m --confirm-on ssh')

/**
 * The confirmation to wait for: the flags hold for every apply, the config alone not for the first one of an instance. Throws
 * E300 for --confirm-on without a time.
 */
export function requestOf(
  { confirm }: WaitOptions,
  { confirmMs }: Desired,
  on: ConfirmOn | undefined,
): ConfirmRequest | undefined {
  if (confirm === 'off') return undefined
  if (confirm !== undefined) return { milliseconds: confirmTime('confirm', confirm), evenFirst: true, on }
  if (confirmMs !== undefined) return { milliseconds: confirmMs, evenFirst: on !== undefined, on }
  if (on) throw withoutTime('neither --confirm nor limits.confirm of the config has one')
  return undefined
}
