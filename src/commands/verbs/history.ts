// xdp history

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { currentOf, findEntry, listHistory, lostOf, textsOf } from '../../pipelines/history.ts'
import { renderEntry, renderEntryJson, renderHistory, renderHistoryJson } from '../../render/history.ts'
import { choose } from '../cli/choose.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { NO_FLAGS } from '../cli/flags.ts'

/** The number of an apply on the command line. Throws E300. */
export function entryNumber(word: string): number {
  if (/^[1-9]\d{0,8}$/.test(word)) return Number(word)
  throw fail('E300', `"${word}" is not the number of an apply`, '`xdp history` lists the applies with their numbers')
}

export async function run(context: Context, { positionals }: Arguments<typeof NO_FLAGS>): Promise<Exit> {
  const { host, flags, stdout, color } = context
  const [action, word] = positionals
  const entries = await listHistory(host)
  const view = { current: await currentOf(host, entries), color: color.stdout }
  if (action === undefined) {
    stdout(flags.json ? renderHistoryJson(entries, view) : renderHistory(entries, view))
    return EXIT.ok
  }
  choose(['show'], action, `"${action}" is not a part of \`xdp history\``)
  if (word === undefined) throw fail('E300', '`xdp history show` needs the number of an apply', 'xdp history show N')
  const entry = await findEntry(host, entryNumber(word))
  const shown = { entry, lost: lostOf(host, entry), texts: textsOf(host, entry) }
  stdout(flags.json ? renderEntryJson(shown, view) : renderEntry(shown, view))
  return EXIT.ok
}
