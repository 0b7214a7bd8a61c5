// xdp confirm

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { CONFIRM } from '../../model/confirmation.ts'
import { type Confirmed, cancelPending, confirmPending, extendPending } from '../../pipelines/confirm.ts'
import { renderConfirm, renderConfirmJson } from '../../render/confirmation.ts'
import type { Context } from '../cli/context.ts'
import { parseDuration } from '../cli/duration.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { CONFIRM_FLAGS } from '../cli/flags.ts'

/** The time to confirm on the command line, in milliseconds. Throws E300. */
export function confirmTime(flag: string, text: string): number {
  const value = parseDuration(flag, text)
  if (value >= CONFIRM.least && value <= CONFIRM.most) return value
  throw fail('E300', `--${flag} must be ${CONFIRM.text}, not ${text}`, `--${flag} 2m`)
}

function perform(host: Context['host'], { extend, cancel }: Options<typeof CONFIRM_FLAGS>): Promise<Confirmed> {
  if (extend !== undefined && cancel) throw fail('E300', '--extend and --cancel exclude each other', 'use one of them')
  if (extend !== undefined) return extendPending(host, confirmTime('extend', extend))
  return cancel ? cancelPending(host) : confirmPending(host)
}

export async function run(context: Context, { options }: Arguments<typeof CONFIRM_FLAGS>): Promise<Exit> {
  const { host, flags, stdout, color } = context
  const result = await perform(host, options)
  stdout(flags.json ? renderConfirmJson(result) : renderConfirm(result, color.stdout))
  return EXIT.ok
}
