// xdp watch

import manifest from '../../../package.json' with { type: 'json' }
import { findConfig } from '../../config/load.ts'
import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { type Endpoint, parseEndpoint } from '../../model/endpoint.ts'
import type { Host } from '../../pipelines/session.ts'
import { describeWatch, renderEvent, renderEventJson } from '../../render/watch.ts'
import type { Surroundings } from '../../report/stats.ts'
import { runDaemon } from '../../watch/daemon.ts'
import type { Context } from '../cli/context.ts'
import { parseDuration } from '../cli/duration.ts'
import type { Arguments } from '../cli/flag.ts'
import type { WATCH_FLAGS } from '../cli/flags.ts'
import { allowedCutsBy } from './accepted.ts'
import { trustOf } from './config.ts'

/** The limit of watch.debounce in the config, in milliseconds. */
const LONGEST_DEBOUNCE = 60_000

function debounceOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = parseDuration('debounce', text)
  if (value <= LONGEST_DEBOUNCE) return value
  throw fail('E300', `--debounce ${text} is longer than 1m`, '--debounce 1m')
}

function metricsOf(text: string | undefined): Endpoint | undefined {
  if (text === undefined) return undefined
  const endpoint = parseEndpoint(text)
  if (endpoint) return endpoint
  throw fail('E300', `--metrics "${text}" is not ADDRESS:PORT`, '--metrics 127.0.0.1:9469')
}

/** Collects metrics for the endpoint. Loads the code for it with the first scrape. */
async function collectMetrics(host: Host, surroundings: Surroundings): Promise<string> {
  const [{ exposition }, { readStats }] = await Promise.all([
    import('../../metrics/exposition.ts'),
    import('../../pipelines/stats.ts'),
  ])
  return exposition({ version: manifest.version, stats: await readStats(host), surroundings })
}

export async function run(context: Context, { options }: Arguments<typeof WATCH_FLAGS>): Promise<Exit> {
  const { flags, host, stdout, color, isTerminal, isJournal, onHangup } = context
  const asJson = flags.json || !(isTerminal || isJournal)
  const journal = isJournal ?? false
  await runDaemon({
    host,
    path: findConfig(flags.file),
    trust: trustOf(context),
    allowedCuts: allowedCutsBy(options),
    debounceMs: debounceOf(options.debounce),
    debug: flags.debug,
    metrics: metricsOf(options.metrics),
    describe: describeWatch,
    collect: (surroundings) => collectMetrics(host, surroundings),
    onHangup,
    emit({ repeated, ...event }) {
      const view = { time: new Date(), repeated }
      stdout(asJson ? renderEventJson(event, view) : renderEvent(event, { ...view, color: color.stdout, journal }))
    },
  })
  return EXIT.ok
}
