// xdp bans

import { EXIT, type Exit } from '../../diagnostics.ts'
import { listBans } from '../../pipelines/ban-list.ts'
import { renderBans, renderBansJson } from '../../render/bans.ts'
import type { Context } from '../cli/context.ts'

export async function run({ flags, host, stdout, color }: Context): Promise<Exit> {
  const bans = await listBans(host)
  stdout(flags.json ? renderBansJson(bans) : renderBans(bans, color.stdout))
  return EXIT.ok
}
