// xdp status

import { EXIT, type Exit } from '../../diagnostics.ts'
import { openStore } from '../../fetch/store.ts'
import { exportState } from '../../pipelines/offline.ts'
import { readStatus } from '../../pipelines/status.ts'
import { withTools } from '../../pipelines/tools.ts'
import { shownPolicy } from '../../render/policy.ts'
import { renderStatus, renderStatusJson } from '../../render/status.ts'
import { sealState } from '../../saved/state.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { STATUS_FLAGS } from '../cli/flags.ts'
import { copiesOf } from './config.ts'
import { PRIVATE, writeWhole } from './write-file.ts'

/** The text of the exported state, without secrets. */
async function stateText({ host }: Context): Promise<string> {
  const exported = await withTools(() => exportState(host))
  const { state } = exported.live
  const policy = state.policy && shownPolicy(state.policy)
  return sealState({ ...exported, live: { ...exported.live, state: { ...state, policy } } })
}

export async function run(context: Context, { options }: Arguments<typeof STATUS_FLAGS>): Promise<Exit> {
  const { flags, host, stdout, color } = context
  if (options.state === '-') {
    stdout(await stateText(context))
    return EXIT.ok
  }
  if (options.state !== undefined) writeWhole(options.state, await stateText(context), PRIVATE)
  const read = await withTools(() => readStatus(host))
  const status = { ...read, copies: openStore(copiesOf(context).directory, host.copies?.uid ?? 0).all() }
  stdout(flags.json ? renderStatusJson(status) : renderStatus(status, { color: color.stdout, now: Date.now() }))
  return EXIT.ok
}
