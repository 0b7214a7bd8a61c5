// The live view: rates between two snapshots of the counters, laid out for a screen of any size. Pure: the caller
// passes the clock, the size and both snapshots.

import { formatCount } from '../model/numbers.ts'
import { REASONS, type Verdict, verdictOf } from '../report/reason.ts'
import type { BackendStatus, Count, ServiceStatus } from '../report/result.ts'
import type { Stats } from '../report/stats.ts'
import { showable } from './bans.ts'
import { formatDuration } from './duration.ts'
import { bits, busiest, countColumn, type Frame, NONE, perSecond, rateColumn, type Section } from './live-section.ts'
import { mitigationSections, synLine } from './mitigations.ts'
import { formatBytes, formatShare } from './numbers.ts'
import { type Paint, paint } from './paint.ts'
import { ratesOf } from './rates.ts'
import { addressOf, stateOf } from './service-status.ts'
import { isEmpty, type Totals, totalsOf } from './stats.ts'
import { left, right, shownVerdicts } from './status.ts'
import { formatTable } from './table.ts'

/** A line, and the style of the whole line: clipping must not cut through escape sequences. */
interface Line {
  readonly text: string
  readonly paint?: keyof Paint
}

const countOf = ({ packets, bytes }: Pick<Totals, 'packets' | 'bytes'>, verdict: Verdict): Count => ({
  packets: packets[verdict],
  bytes: bytes[verdict],
})

function interfaceSection({ stats, previous, seconds }: Frame): Section {
  const verdicts = shownVerdicts(stats.interfaces)
  const columns = verdicts.flatMap((verdict) => [rateColumn(`${verdict.toUpperCase()}/S`), rateColumn('BIT/S')])
  const before = new Map(previous?.interfaces.map((one) => [one.name, one]))
  const rows = stats.interfaces.map((now) => {
    const old = before.get(now.name)
    const rates = verdicts.map((verdict) => ratesOf(old && countOf(old, verdict), countOf(now, verdict), seconds))
    return {
      name: now.name,
      packets: verdicts.reduce((sum, verdict) => sum + now.packets[verdict], 0),
      rate: rates.reduce((sum, rate) => sum + (rate?.packets ?? 0), 0),
      cells: [now.mode, ...rates.flatMap((rate) => [perSecond(rate?.packets), bits(rate?.bytes)])],
    }
  })
  const sorted = busiest(rows, ({ rate }) => rate)
  return {
    columns: [left('INTERFACE'), left('MODE'), ...columns],
    rows: [...stats.detached.map((name) => [name, 'detached']), ...sorted.map(({ name, cells }) => [name, ...cells])],
  }
}

function reasonSection({ stats, previous, seconds }: Frame): Section {
  const now = totalsOf(stats.interfaces).reasons
  const before = previous && totalsOf(previous.interfaces).reasons
  const found = REASONS.flatMap((name) => {
    const count = now[name]
    // A reason missing from the earlier snapshot counts from zero.
    return count ? [{ name, ...count, rate: ratesOf(before && (before[name] ?? NONE), count, seconds) }] : []
  })
  return {
    columns: [left('REASON'), left('VERDICT'), rateColumn('PACKETS/S'), rateColumn('BIT/S'), countColumn('PACKETS')],
    rows: busiest(found, ({ rate }) => rate?.packets ?? 0).map(({ name, packets, rate }) => [
      name,
      verdictOf(name),
      perSecond(rate?.packets),
      bits(rate?.bytes),
      formatCount(packets),
    ]),
  }
}

function listSection({ stats, previous, seconds }: Frame): Section {
  const before = new Map(previous?.lists.map((one) => [one.name, one]))
  const found = stats.lists.map((now) => ({ ...now, rate: ratesOf(before.get(now.name), now, seconds) }))
  const rates = [rateColumn('PACKETS/S'), rateColumn('BIT/S'), countColumn('PACKETS')]
  return {
    columns: [left('LIST'), left('KIND'), right('PREFIXES'), ...rates],
    rows: busiest(found, ({ rate }) => rate?.packets ?? 0).map(({ name, kind, prefixes, packets, rate }) => [
      name,
      kind,
      formatCount(prefixes),
      perSecond(rate?.packets),
      bits(rate?.bytes),
      formatCount(packets),
    ]),
  }
}

/** Share of packets whose flow was in the flow table. */
function hitShare(before: ServiceStatus | undefined, now: ServiceStatus): string {
  const grown = (old: number | undefined, value: number): number =>
    old === undefined || value < old ? value : value - old
  const hits = grown(before?.hits, now.hits)
  return formatShare(hits, hits + grown(before?.misses, now.misses))
}

const flowRate = (before: Flows | undefined, now: Flows, seconds: number): string =>
  perSecond(ratesOf(before && { packets: before.flows, bytes: 0 }, { packets: now.flows, bytes: 0 }, seconds)?.packets)

type Flows = Pick<ServiceStatus, 'flows'>

function serviceSection({ stats, previous, seconds }: Frame): Section {
  const before = new Map(previous?.services.map((one) => [one.service.name, one]))
  const found = stats.services.map((now) => {
    const { name } = now.service
    const rate = ratesOf(before.get(name), now, seconds)
    return { name, packets: now.packets, rate, flows: flowRate(before.get(name), now, seconds), now }
  })
  return {
    columns: [
      ...[left('SERVICE'), left('HEALTH'), rateColumn('PACKETS/S'), rateColumn('BIT/S'), rateColumn('FLOWS/S')],
      ...[rateColumn('KNOWN'), countColumn('NO BACKEND')],
    ],
    rows: busiest(found, ({ rate }) => rate?.packets ?? 0).map(({ name, rate, flows, now }) => [
      ...[name, now.mode, perSecond(rate?.packets), bits(rate?.bytes), flows],
      ...[hitShare(before.get(name), now), formatCount(now.empty)],
    ]),
  }
}

function backendSection({ stats, previous, seconds }: Frame): Section {
  const keyOf = ({ service }: ServiceStatus, backend: BackendStatus): string => `${service.name} ${addressOf(backend)}`
  const all = (one: Stats | undefined): (readonly [string, BackendStatus])[] =>
    (one?.services ?? []).flatMap((status) =>
      status.backends.map((backend) => [keyOf(status, backend), backend] as const),
    )
  const before = new Map(all(previous))
  const found = all(stats).map(([name, now]) => {
    return { name, packets: now.packets, rate: ratesOf(before.get(name), now, seconds), now }
  })
  // Backends that are down come first.
  const sorted = busiest(found, ({ rate }) => rate?.packets ?? 0).toSorted(
    (a, b) => Number(b.now.health === 'down') - Number(a.now.health === 'down'),
  )
  return {
    columns: [left('BACKEND'), left('STATE'), rateColumn('PACKETS/S'), rateColumn('BIT/S'), rateColumn('FLOWS/S')],
    rows: sorted.map(({ name, rate, now }) => [
      ...[name, stateOf(now), perSecond(rate?.packets), bits(rate?.bytes)],
      flowRate(before.get(name), now, seconds),
    ]),
  }
}

/** `pass 12.3k/s 98.4 Mbit/s   drop 350k/s 180 Mbit/s (96.6%)` */
function totalLine({ stats, previous, seconds }: Frame): string {
  const [now, before] = [totalsOf(stats.interfaces), previous && totalsOf(previous.interfaces)]
  const verdicts = shownVerdicts(stats.interfaces)
  const rates = verdicts.map((verdict) => ratesOf(before && countOf(before, verdict), countOf(now, verdict), seconds))
  const all = rates.reduce((sum, rate) => sum + (rate?.packets ?? 0), 0)
  const parts = verdicts.map((verdict, i) => {
    const rate = rates[i]
    const share = verdict === 'drop' && rate && all > 0 ? ` (${formatShare(rate.packets, all)})` : ''
    return `${verdict} ${perSecond(rate?.packets)}/s ${bits(rate?.bytes).replace(/[kMGTP]?$/, ' $&')}bit/s${share}`
  })
  return parts.join('   ')
}

function head(frame: Frame): Line[] {
  const { stats, instance, error, columns } = frame
  const { time, committed_at, fill, memory, drifted, generation } = stats
  const clock = new Date(time).toISOString().slice(11, 19)
  const applied = committed_at === undefined ? '' : `, applied ${formatDuration(time - Date.parse(committed_at))} ago`
  const title = `xdp stats  instance ${instance}  generation ${generation}${applied}`
  const bans = fill.find(({ name }) => name === 'bans')
  const facts = [
    ...(bans ? [`bans ${formatCount(bans.used)} of ${formatCount(bans.capacity)}`] : []),
    `lists ${formatCount(stats.lists.length)}`,
    `memory ${formatBytes(memory.policy + memory.counters + memory.bans)}`,
    ...(drifted.length > 0 ? [`drift: ${drifted.map(({ key }) => key).join(', ')}`] : []),
  ]
  const room = columns - clock.length - 2
  return [
    { text: `${title.slice(0, Math.max(0, room)).padEnd(Math.max(0, room))}  ${clock}`, paint: 'bold' },
    { text: totalLine(frame) },
    ...synLine(frame).map((text) => ({ text })),
    { text: facts.join('   '), ...(drifted.length > 0 ? { paint: 'yellow' as const } : {}) },
    ...(error === undefined ? [] : [{ text: error.replaceAll(/\s+/g, ' '), paint: 'red' as const }]),
  ]
}

/**
 * Divides `room` lines among sections; each shown section takes two more for a blank line and its titles. Hands out
 * rows in turn, so that a long section does not hide a short one.
 */
export function shareRows(wanted: readonly number[], room: number): number[] {
  const given = wanted.map(() => 0)
  let left = room
  for (let moved = true; moved; ) {
    moved = false
    for (const [i, rows] of wanted.entries()) {
      const cost = given[i] === 0 ? 3 : 1
      if ((given[i] as number) >= rows || cost > left) continue
      given[i] = (given[i] as number) + 1
      left -= cost
      moved = true
    }
  }
  return given
}

function sectionLines({ columns, rows }: Section, given: number): Line[] {
  if (given === 0) return []
  const hidden = rows.length - given
  // The last row counts the hidden rows, the one that it replaces included.
  const shown = hidden > 0 ? [...rows.slice(0, given - 1), [`… ${formatCount(hidden + 1)} more`]] : rows
  // Names come from the kernel and must not steer the terminal.
  const [titles = '', ...lines] = formatTable(
    columns,
    shown.map((cells) => cells.map(showable)),
  )
  return [{ text: '' }, { text: titles, paint: 'dim' }, ...lines.map((text) => ({ text }))]
}

const clip = (text: string, columns: number): string =>
  text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`.slice(0, columns)

/** Renders at most `rows` lines of at most `columns` characters, escape sequences not counted. */
export function renderLive(frame: Frame): string[] {
  const { stats, columns, rows, color, interval } = frame
  const style = paint(color)
  const top = head(frame)
  const foot: Line = { text: `q quits   every ${interval}`, paint: 'dim' }
  const body: Line[] = isEmpty(stats)
    ? [{ text: '' }, { text: 'Nothing is applied: this instance has nothing in the kernel.' }]
    : sections(frame, rows - top.length - 1)
  const lines = [...top, ...body].slice(0, Math.max(0, rows - 1))
  const blank = Array.from({ length: Math.max(0, rows - 1 - lines.length) }, (): Line => ({ text: '' }))
  return [...lines, ...blank, foot].map(({ text, paint: name }) => {
    const clipped = clip(text, columns)
    return name === undefined ? clipped : style[name](clipped)
  })
}

function sections(frame: Frame, room: number): Line[] {
  const { stats } = frame
  const balancer = stats.services.length > 0 ? [serviceSection(frame), backendSection(frame)] : []
  const lists = stats.lists.length > 0 || balancer.length === 0 ? [listSection(frame)] : []
  const all = [interfaceSection(frame), ...balancer, reasonSection(frame), ...mitigationSections(frame), ...lists]
  const given = shareRows(
    all.map(({ rows }) => rows.length),
    room,
  )
  return all.flatMap((section, i) => sectionLines(section, given[i] as number))
}
