// xdp diff

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import type { State } from '../../model/state.ts'
import { readLivePolicy } from '../../pipelines/diff.ts'
import { findEntry } from '../../pipelines/history.ts'
import { withTools } from '../../pipelines/tools.ts'
import { changesBetween } from '../../plan/between.ts'
import { renderDiff, renderDiffJson } from '../../render/diff.ts'
import { loadEntry } from '../../watch/restore.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { DIFF_FLAGS } from '../cli/flags.ts'
import { loadFile, trustOf } from './config.ts'
import { entryNumber } from './history.ts'

/** One side of the comparison. */
interface Side {
  readonly title: string
  readonly state: State
  /** undefined for the live policy. */
  readonly config: Desired['config'] | undefined
  readonly provenance: Desired['provenance'] | undefined
}

const sideOf = (title: string, { state, config, provenance }: Desired): Side => ({ title, state, config, provenance })

/** An apply by its number, `live`, or a file. */
async function read(context: Context, word: string): Promise<Side> {
  const { host } = context
  if (word === 'live') {
    return { title: 'the live policy', state: await readLivePolicy(host), config: undefined, provenance: undefined }
  }
  if (!/^\d+$/.test(word)) return sideOf(word, (await loadFile(context, word)).desired)
  const entry = await findEntry(host, entryNumber(word))
  const { desired } = await loadEntry(host, entry, { path: entry.config.path, sha256: [] }, trustOf(context))
  return sideOf(`apply ${entry.number}`, desired)
}

export async function run(context: Context, { options, positionals }: Arguments<typeof DIFF_FLAGS>): Promise<Exit> {
  if (options.full && options.summary)
    throw fail('E300', '--full and --summary exclude each other', 'xdp diff 1 2 --full')
  const [first = '', second = ''] = positionals
  return withTools(async () => {
    const from = await read(context, first)
    const to = await read(context, second)
    const changes = changesBetween(from.state, to.state)
    const view = {
      from: from.title,
      to: to.title,
      config: to.config,
      provenance: to.provenance,
      earlier: from.provenance,
      detail: options.full ? 'full' : options.summary ? 'summary' : 'normal',
      color: context.color.stdout,
    } as const
    context.stdout(context.flags.json ? renderDiffJson(changes, view) : renderDiff(changes, view))
    return options['detailed-exitcode'] && changes.length > 0 ? EXIT.changesPending : EXIT.ok
  })
}
