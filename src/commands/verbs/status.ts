// xdp status

import { EXIT, type Exit } from '../../diagnostics.ts'
import { openStore } from '../../fetch/store.ts'
import { readStatus } from '../../pipelines/status.ts'
import { withTools } from '../../pipelines/tools.ts'
import { renderStatus, renderStatusJson } from '../../render/status.ts'
import type { Context } from '../cli/context.ts'
import { copiesOf } from './config.ts'

export async function run(context: Context): Promise<Exit> {
  const { flags, host, stdout, color } = context
  const read = await withTools(() => readStatus(host))
  const status = { ...read, copies: openStore(copiesOf(context).directory, host.copies?.uid ?? 0).all() }
  stdout(flags.json ? renderStatusJson(status) : renderStatus(status, { color: color.stdout, now: Date.now() }))
  return EXIT.ok
}
