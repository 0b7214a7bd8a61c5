// Renders counters and gauges as text and as JSON (schemas/stats.schema.json).

import { formatCount } from '../model/numbers.ts'
import { REASONS, type ReasonName, VERDICTS, type Verdict } from '../report/reason.ts'
import type { Count, InterfaceStatus } from '../report/result.ts'
import type { FeedFacts, Fill, Memory, Stats, Surroundings } from '../report/stats.ts'
import { pendingJson } from './confirmation.ts'
import { formatDuration } from './duration.ts'
import { copiesJson, copyTable } from './fetch.ts'
import { jsonDocument } from './json.ts'
import { formatBytes, formatShare, seconds } from './numbers.ts'
import { type Paint, paint } from './paint.ts'
import { serviceStatusJson, serviceTables } from './service-status.ts'
import {
  anomalyTable,
  left,
  listTable,
  rateTable,
  reasonTable,
  right,
  shownVerdicts,
  synTable,
  trouble,
} from './status.ts'
import { formatTable } from './table.ts'

export interface Totals {
  readonly packets: Readonly<Record<Verdict, number>>
  readonly bytes: Readonly<Record<Verdict, number>>
  /** Only reasons that occurred. */
  readonly reasons: Readonly<Partial<Record<ReasonName, Count>>>
}

/** Sums over all interfaces. */
export function totalsOf(interfaces: readonly InterfaceStatus[]): Totals {
  const sum = (unit: 'packets' | 'bytes', verdict: Verdict): number =>
    interfaces.reduce((total, one) => total + one[unit][verdict], 0)
  const byVerdict = (unit: 'packets' | 'bytes') =>
    Object.fromEntries(VERDICTS.map((verdict) => [verdict, sum(unit, verdict)])) as Record<Verdict, number>
  const reasons = REASONS.flatMap((reason) => {
    const counts = interfaces.flatMap((one) => one.reasons[reason] ?? [])
    const packets = counts.reduce((total, count) => total + count.packets, 0)
    return packets === 0 ? [] : [[reason, { packets, bytes: counts.reduce((total, { bytes }) => total + bytes, 0) }]]
  })
  return { packets: byVerdict('packets'), bytes: byVerdict('bytes'), reasons: Object.fromEntries(reasons) }
}

const memoryTotal = ({ policy, counters, bans }: Memory): number => policy + counters + bans

function head({ generation, committed_at, memory }: Stats): string[] {
  const applied = committed_at === undefined ? 'not committed' : `applied ${seconds(committed_at)}`
  const parts = [
    `${formatBytes(memory.policy)} policy`,
    `${formatBytes(memory.counters)} counters`,
    `${formatBytes(memory.bans)} bans`,
  ]
  return [
    `Generation ${generation}, ${applied}`,
    `Kernel memory: ${formatBytes(memoryTotal(memory))} (${parts.join(', ')})`,
  ]
}

function verdictTable(interfaces: readonly InterfaceStatus[]): string[] {
  const { packets, bytes } = totalsOf(interfaces)
  const all = VERDICTS.reduce((total, verdict) => total + packets[verdict], 0)
  const rows = shownVerdicts(interfaces).map((verdict) => [
    verdict,
    formatCount(packets[verdict]),
    formatBytes(bytes[verdict]),
    formatShare(packets[verdict], all),
  ])
  return ['', ...formatTable([left('VERDICT'), right('PACKETS'), right('BYTES'), right('SHARE')], rows)]
}

function interfaceTable(interfaces: readonly InterfaceStatus[], detached: readonly string[]): string[] {
  const verdicts = shownVerdicts(interfaces)
  const columns = verdicts.flatMap((verdict) => [right(verdict.toUpperCase()), right('BYTES')])
  const rows = interfaces.map(({ name, mode, packets, bytes }) => [
    name,
    mode,
    ...verdicts.flatMap((verdict) => [formatCount(packets[verdict]), formatBytes(bytes[verdict])]),
  ])
  const gone = detached.map((name) => [name, 'detached'])
  return ['', ...formatTable([left('INTERFACE'), left('MODE'), ...columns], [...rows, ...gone])]
}

function fillTable(fill: readonly Fill[]): string[] {
  const rows = fill.map(({ name, used, capacity }) => [
    name,
    formatCount(used),
    formatCount(capacity),
    formatShare(used, capacity),
  ])
  return ['', ...formatTable([left('TABLE'), right('USED'), right('CAPACITY'), right('SHARE')], rows)]
}

const age = (since: number, now: number): string => formatDuration(now - since * 1000)

function configLines({ config }: Surroundings, now: number, { red }: Paint): string[] {
  if (!config) return []
  if (!config.valid) return ['', red(`Config: ${config.path} is invalid`)]
  const written = config.modifiedAt === undefined ? '' : `, written ${age(config.modifiedAt, now)} ago`
  return ['', `Config: ${config.path} (sha256 ${(config.sha256 ?? '').slice(0, 12)})${written}`]
}

function feedTable(feeds: readonly FeedFacts[], now: number): string[] {
  if (feeds.length === 0) return []
  const rows = feeds.map(({ list, entries, skipped, updatedAt, maxAge }) => [
    list,
    formatCount(entries),
    formatCount(skipped),
    age(updatedAt, now),
    maxAge === undefined ? 'any' : formatDuration(maxAge * 1000),
  ])
  return ['', ...formatTable([left('FEED'), right('ENTRIES'), right('SKIPPED'), right('AGE'), right('MAX AGE')], rows)]
}

/** Whether the instance has nothing in the kernel. */
export const isEmpty = ({ generation, interfaces, program }: Stats): boolean =>
  generation === 0 && interfaces.length === 0 && program === undefined

export function renderStats(stats: Stats, surroundings: Surroundings, { color }: { readonly color: boolean }): string {
  const style = paint(color)
  const { interfaces, detached, fill, drifted, time } = stats
  const about = [
    ...configLines(surroundings, time, style),
    ...feedTable(surroundings.feeds ?? [], time),
    ...copyTable(surroundings.copies ?? [], time),
  ]
  const lines = isEmpty(stats)
    ? ['Nothing is applied: this instance has nothing in the kernel.', ...about]
    : [
        ...head(stats),
        ...(interfaces.length === 0
          ? ['', 'Attached to no interface: nothing is filtered.']
          : verdictTable(interfaces)),
        ...(interfaces.length + detached.length > 0 ? interfaceTable(interfaces, detached) : []),
        ...reasonTable(stats),
        ...listTable(stats),
        ...anomalyTable(stats),
        ...rateTable(stats),
        ...synTable(stats),
        ...serviceTables(stats.services),
        ...fillTable(fill),
        ...about,
        ...trouble({ drifted, leftovers: [] }, style),
      ]
  return `${lines.join('\n')}\n`
}

const feedJson = ({ list, updatedAt, maxAge, entries, skipped }: FeedFacts) => ({
  list,
  updated_at: updatedAt,
  max_age: maxAge ?? null,
  entries,
  skipped,
})

export function renderStatsJson(stats: Stats, { config, feeds = [], copies = [] }: Surroundings): string {
  const {
    interfaces,
    unknown,
    detached,
    lists,
    rate_limits,
    observed_bans,
    fill,
    memory,
    program,
    generation,
    committed_at,
    drifted,
  } = stats
  const { time, pending, anomalies } = stats
  return jsonDocument({
    time: new Date(time).toISOString(),
    generation,
    committed_at: committed_at ?? null,
    program: program ?? null,
    totals: totalsOf(interfaces),
    interfaces,
    unknown_interfaces: unknown,
    detached,
    lists,
    anomalies,
    rate_limits,
    observed_bans: observed_bans ?? null,
    syn_protection: stats.syn_protection ?? null,
    services: stats.services.map(serviceStatusJson),
    tables: fill.map(({ name, used, capacity }) => ({ name, used, capacity })),
    memory: { ...memory, total: memoryTotal(memory) },
    drift: drifted.length > 0,
    drifted,
    pending_confirmation: pending ? pendingJson(pending) : null,
    config: config
      ? {
          path: config.path,
          sha256: config.sha256 ?? null,
          modified_at: config.modifiedAt ?? null,
          valid: config.valid,
        }
      : null,
    feeds: feeds.map(feedJson),
    copies: copiesJson(copies),
  })
}
