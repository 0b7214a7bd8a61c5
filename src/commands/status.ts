// xdp status

import { EXIT, type Exit } from '../diagnostics.ts'
import { withTools } from '../reconcile/tools.ts'
import { readStatus } from '../reconcile.ts'
import { renderStatus, renderStatusJson } from '../render/status.ts'
import type { Context } from './context.ts'

export async function run({ flags, host, stdout, color }: Context): Promise<Exit> {
  const status = await withTools(() => readStatus(host))
  stdout(flags.json ? renderStatusJson(status) : renderStatus(status, { color: color.stdout }))
  return EXIT.ok
}
