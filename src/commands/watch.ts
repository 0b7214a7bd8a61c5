// xdp watch

import { findConfig } from '../config/load.ts'
import { EXIT, type Exit, fail } from '../diagnostics.ts'
import { describeWatch, renderEvent, renderEventJson } from '../render/watch.ts'
import { runDaemon } from '../watch/daemon.ts'
import type { Context } from './context.ts'
import { parseDuration } from './duration.ts'
import type { WATCH_FLAGS } from './flags.ts'
import type { Arguments } from './specification.ts'

/** As in the config. */
const LONGEST_DEBOUNCE = 60_000

function debounceOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = parseDuration('debounce', text)
  if (value <= LONGEST_DEBOUNCE) return value
  throw fail('E300', `--debounce ${text} is too long`, 'at most 1m')
}

export async function run(context: Context, { options }: Arguments<typeof WATCH_FLAGS>): Promise<Exit> {
  const { flags, host, stdout, color, isTerminal, onHangup } = context
  const asJson = flags.json || !isTerminal
  await runDaemon({
    host,
    path: findConfig(flags.file),
    debounceMs: debounceOf(options.debounce),
    debug: flags.debug,
    describe: describeWatch,
    onHangup,
    tell({ repeated, ...event }) {
      const view = { time: new Date(), repeated }
      stdout(asJson ? renderEventJson(event, view) : renderEvent(event, { ...view, color: color.stdout }))
    },
  })
  return EXIT.ok
}
