// `watch`: how the daemon follows the config file.

import type { WatchOptions } from '../model/desired.ts'
import { parseEndpoint } from '../model/endpoint.ts'
import { readDuration } from './text/duration.ts'
import type { Part } from './text/part.ts'
import type { Report } from './text/report.ts'
import { quote } from './text/show.ts'
import { wordsOf } from './text/words.ts'
import type { WrittenWatch } from './text/written.ts'

export const DEFAULT_WATCH: WatchOptions = {
  debounceMs: 100,
  resyncMs: 60_000,
  onDrift: 'repair',
  onStop: 'keep',
  metrics: undefined,
}

/** Shortest and longest time in milliseconds, and both in words. */
const BOUNDS = {
  // With a longer debounce the daemon would seem to ignore edits.
  debounce: { least: 0, most: 60_000, text: 'from 0ms to 1m' },
  // Reading the full live state takes a good part of a second if lists are long.
  resync: { least: 1000, most: 86_400_000, text: 'from 1s to 24h' },
} as const

function durationWithin(key: keyof typeof BOUNDS, written: string | undefined, top: Part, report: Report): number {
  const { least, most, text } = BOUNDS[key]
  const standard = key === 'debounce' ? DEFAULT_WATCH.debounceMs : DEFAULT_WATCH.resyncMs
  const value = written === undefined ? standard : readDuration(written)
  if (value >= least && value <= most) return value
  reportValue(key, `${key} must be ${text}, not ${written}`, top, report)
  return standard
}

function reportValue(key: string, message: string, { root, source }: Part, report: Report): void {
  const placed = root.fields?.get('watch')?.fields?.get(key)
  const at = placed && source.locate(placed.from, placed.to)
  report.error('E013', at, message, wordsOf(['watch', key])?.hint)
}

/** The options of the top file, completed with defaults. */
export function readWatch(top: Part, report: Report): WatchOptions {
  const written = top.root.fields?.get('watch')?.value as WrittenWatch | undefined
  if (!written || [...top.wrong].some((path) => path === 'watch' || path.startsWith('watch/'))) return DEFAULT_WATCH
  const metrics = written.metrics === undefined ? undefined : parseEndpoint(written.metrics)
  if (written.metrics !== undefined && metrics === undefined) {
    reportValue('metrics', `${quote(written.metrics)} is not an address with a port`, top, report)
  }
  return {
    debounceMs: durationWithin('debounce', written.debounce, top, report),
    resyncMs: durationWithin('resync', written.resync, top, report),
    onDrift: written.on_drift ?? DEFAULT_WATCH.onDrift,
    onStop: written.on_stop ?? DEFAULT_WATCH.onStop,
    metrics,
  }
}
