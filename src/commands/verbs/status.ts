// xdp status

import { EXIT, type Exit } from '../../diagnostics.ts'
import { readStatus } from '../../pipelines/status.ts'
import { withTools } from '../../pipelines/tools.ts'
import { renderStatus, renderStatusJson } from '../../render/status.ts'
import type { Context } from '../cli/context.ts'

export async function run({ flags, host, stdout, color }: Context): Promise<Exit> {
  const status = await withTools(() => readStatus(host))
  stdout(flags.json ? renderStatusJson(status) : renderStatus(status, { color: color.stdout }))
  return EXIT.ok
}
