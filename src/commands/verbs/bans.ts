// xdp bans

import { EXIT, type Exit } from '../../diagnostics.ts'
import { listBans } from '../../pipelines/ban-list.ts'
import { renderBans, renderBansJson } from '../../render/bans.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { BANS_FLAGS } from '../cli/flags.ts'

export async function run(
  { flags, host, stdout, color }: Context,
  { options: { by } }: Arguments<typeof BANS_FLAGS>,
): Promise<Exit> {
  const bans = (await listBans(host)).filter((ban) => by === undefined || ban.by === by)
  stdout(flags.json ? renderBansJson(bans) : renderBans(bans, color.stdout))
  return EXIT.ok
}
