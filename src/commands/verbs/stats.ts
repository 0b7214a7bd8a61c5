// xdp stats

import manifest from '../../../package.json' with { type: 'json' }
import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { exposition } from '../../metrics/exposition.ts'
import { readStats } from '../../pipelines/stats.ts'
import { renderLive } from '../../render/live.ts'
import { renderStats, renderStatsJson } from '../../render/stats.ts'
import type { Context } from '../cli/context.ts'
import { parseDuration } from '../cli/duration.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { STATS_FLAGS } from '../cli/flags.ts'
import { watchLive } from './live.ts'
import { readSurroundings } from './surroundings.ts'
import { writeWhole } from './write-file.ts'

type Given = Options<typeof STATS_FLAGS>
type Format = 'text' | 'json' | 'prometheus'

/** At shorter intervals reading counters would use most of a CPU. */
const SHORTEST_MS = 100

function formatOf({ format = 'text' }: Given, json: boolean): Format {
  if (format !== 'text' && format !== 'prometheus')
    throw fail('E300', `--format "${format}" is not text or prometheus`, 'for JSON: xdp stats --json')
  if (json && format === 'prometheus') throw fail('E300', '--json and --format prometheus exclude each other')
  return json ? 'json' : format
}

/** Throws E300 for flags that exclude each other. */
function readGiven(given: Given, json: boolean): { format: Format; intervalMs: number } {
  const format = formatOf(given, json)
  const { watch, interval, output } = given
  if (interval !== undefined && !watch)
    throw fail('E300', '--interval needs --watch', 'add --watch; an interval has a unit, such as 2s')
  if (watch && output !== undefined) throw fail('E300', '--watch and --output exclude each other')
  if (watch && format === 'prometheus') throw fail('E300', '--watch and --format prometheus exclude each other')
  const intervalMs = parseDuration('interval', interval ?? '1s')
  if (intervalMs < SHORTEST_MS) throw fail('E300', `--interval ${interval} is shorter than ${SHORTEST_MS}ms`)
  return { format, intervalMs }
}

async function snapshot(context: Context, format: Format): Promise<string> {
  const [stats, surroundings] = await Promise.all([readStats(context.host), readSurroundings(context)])
  if (format === 'json') return renderStatsJson(stats, surroundings)
  if (format === 'text') return renderStats(stats, surroundings, { color: context.color.stdout })
  return exposition({ version: manifest.version, stats, surroundings })
}

export async function run(context: Context, { options }: Arguments<typeof STATS_FLAGS>): Promise<Exit> {
  const { host, flags, screen, color } = context
  const { format, intervalMs } = readGiven(options, flags.json)
  if (options.watch && format === 'text' && screen) {
    const about = { instance: host.instance, interval: options.interval ?? '1s', color: color.stdout }
    await watchLive({ screen, read: () => readStats(host), render: renderLive, intervalMs, about, signal: host.signal })
    return EXIT.ok
  }
  const text = await snapshot(context, format)
  if (options.output === undefined) context.stdout(text)
  else writeWhole(options.output, text)
  return EXIT.ok
}
