// xdp list

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { PRINTABLE } from '../../import/document.ts'
import { type ListedLive, listLive } from '../../import/live.ts'
import { formatCount, plural } from '../../model/numbers.ts'
import { computing } from '../../pipelines/computing.ts'
import { type Listed, readListed } from '../../pipelines/list.ts'
import { withTools } from '../../pipelines/tools.ts'
import { jsonDocument } from '../../render/json.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { LIST_FLAGS } from '../cli/flags.ts'
import { editorSchema } from './schema-file.ts'
import { writeConfig } from './write-config.ts'

const aboutOf = ({ host }: Context, { generation, committedAt }: Listed): string[] => [
  `The live policy of instance ${host.instance}, printed by \`xdp list\`: generation ${generation}, in force since ${committedAt?.replace(/\.\d+Z$/, 'Z')}.`,
]

const renderJson = (
  { host }: Context,
  { generation, committedAt }: Listed,
  { config, files, leftOut }: ListedLive,
  path: string | undefined,
): string =>
  jsonDocument({
    instance: host.instance,
    generation,
    committed_at: committedAt,
    config: path ?? null,
    text: path === undefined ? config : null,
    files: files.map((file) => file.path),
    left_out: leftOut.map(({ what, why }) => ({ what, why })),
  })

export async function run(context: Context, { options }: Arguments<typeof LIST_FLAGS>): Promise<Exit> {
  const { flags, host, stdout } = context
  const { output, secrets, force } = options
  const live = await withTools(() => readListed(host))
  const about = aboutOf(context, live)
  const wanted = {
    about,
    schema: editorSchema(),
    files: output !== undefined,
    secrets,
    leaving: live.leaving,
    bans: live.bans,
  }
  const listed = await computing(host, () => listLive(live.state, wanted))
  if (output === undefined && listed.ranges > PRINTABLE) {
    const message = `${formatCount(listed.ranges)} prefixes and ranges are too many to print`
    throw fail('E403', message, 'add --output DIR to write list files')
  }
  const path = output === undefined ? undefined : writeConfig(output, listed, force)
  if (flags.json) stdout(renderJson(context, live, listed, path))
  else if (path === undefined) stdout(listed.config)
  else stdout(`Wrote ${path} and ${plural(listed.files.length, 'list file')}.\nShow its plan: xdp plan -f ${path}\n`)
  return EXIT.ok
}
