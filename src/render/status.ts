// Renders the live state as text and as JSON (schemas/status.schema.json).

import { formatCount } from '../model/numbers.ts'
import type { Policy } from '../model/policy.ts'
import { chainedText } from '../plan/chain.ts'
import { type ReasonName, VERDICTS, type Verdict } from '../report/reason.ts'
import type { Count, InterfaceStatus, Status } from '../report/result.ts'
import type { WatchState } from '../report/watch.ts'
import { pendingJson, pendingStatus, revertedLines } from './confirmation.ts'
import { driftBlock, driftJson } from './drift.ts'
import { copiesJson, copyTable } from './fetch.ts'
import { rollbackJson, rollbackLines } from './history.ts'
import { jsonDocument } from './json.ts'
import { lastApplyJson, lastApplyLines } from './last-apply.ts'
import { formatBytes, seconds } from './numbers.ts'
import { type Paint, paint } from './paint.ts'
import { policyJson, shownPolicy } from './policy.ts'
import { serviceStatusJson, serviceTables } from './service-status.ts'
import { type Column, formatTable } from './table.ts'
import { describeWatch, watchJson } from './watch.ts'

export const left = (title: string): Column => ({ title })
export const right = (title: string): Column => ({ title, align: 'right' })

/** Pass, drop and the other verdicts that occurred; the rest would push tables over 80 columns. */
export const shownVerdicts = (interfaces: readonly InterfaceStatus[]): Verdict[] =>
  VERDICTS.filter(
    (verdict) => verdict === 'pass' || verdict === 'drop' || interfaces.some(({ packets }) => packets[verdict] > 0),
  )

function interfaceTable(interfaces: readonly InterfaceStatus[]): string[] {
  const verdicts = shownVerdicts(interfaces)
  const columns = [left('INTERFACE'), left('MODE'), right('PROGRAM'), left('SINCE')]
  const rows = interfaces.map(({ name, mode, program_id, since, packets }) => [
    name,
    mode,
    String(program_id),
    seconds(since),
    ...verdicts.map((verdict) => formatCount(packets[verdict])),
  ])
  return formatTable([...columns, ...verdicts.map((verdict) => right(verdict.toUpperCase()))], rows)
}

/** Foreign programs behind ours. */
const chainStatus = (interfaces: readonly InterfaceStatus[]): string[] =>
  interfaces.flatMap(({ name, chain }) => (chain ? [`${name}: packets that pass go on to ${chainedText(chain)}`] : []))

export function reasonTable({ interfaces, unknown }: Pick<Status, 'interfaces' | 'unknown'>): string[] {
  const rows = [...interfaces, { name: '(unknown)', reasons: unknown }].flatMap(({ name, reasons }) =>
    (Object.entries(reasons) as [ReasonName, Count][]).map(([reason, { packets, bytes }]) => [
      name,
      reason,
      formatCount(packets),
      formatBytes(bytes),
    ]),
  )
  if (rows.length === 0) return []
  return ['', ...formatTable([left('INTERFACE'), left('REASON'), right('PACKETS'), right('BYTES')], rows)]
}

export function listTable({ lists }: Pick<Status, 'lists'>): string[] {
  if (lists.length === 0) return ['', 'No lists.']
  const observing = lists.some(({ observed }) => observed)
  const rows = lists.map(({ name, kind, prefixes, packets, bytes, observed }) => [
    name,
    kind,
    formatCount(prefixes),
    formatCount(packets),
    formatBytes(bytes),
    ...(observing ? [observed ? formatCount(observed.packets) : '', observed ? formatBytes(observed.bytes) : ''] : []),
  ])
  const columns = [left('LIST'), left('KIND'), right('PREFIXES'), right('PACKETS'), right('BYTES')]
  const more = observing ? [right('WOULD DROP'), right('BYTES')] : []
  return ['', ...formatTable([...columns, ...more], rows)]
}

export function anomalyTable({ anomalies }: Pick<Status, 'anomalies'>): string[] {
  if (anomalies.length === 0) return []
  const rows = anomalies.map(({ name, action, interfaces, packets, bytes, dropped_packets }) => [
    name,
    action,
    interfaces.join(' ') || 'every one',
    formatCount(packets),
    formatBytes(bytes),
    formatCount(dropped_packets),
  ])
  const columns = [left('ANOMALY'), left('ACTION'), left('INTERFACES')]
  return ['', ...formatTable([...columns, right('PACKETS'), right('BYTES'), right('DROPPED')], rows)]
}

export function rateTable({ rate_limits }: Pick<Status, 'rate_limits'>): string[] {
  if (rate_limits.length === 0) return []
  const haveBanned = rate_limits.some(({ bans }) => bans > 0)
  const haveSources = rate_limits.some(({ sources }) => sources !== undefined)
  const rows = rate_limits.map(({ name, per, action, sources, packets, exceeding_packets, exceeding_bytes, bans }) => [
    name,
    per,
    action,
    ...(haveSources ? [sources === undefined ? '-' : formatCount(sources)] : []),
    formatCount(packets),
    formatCount(exceeding_packets),
    formatBytes(exceeding_bytes),
    ...(haveBanned ? [formatCount(bans)] : []),
  ])
  const columns = [...[left('RATE LIMIT'), left('PER'), left('ACTION')], ...(haveSources ? [right('SOURCES')] : [])]
  const counts = [right('PACKETS'), right('EXCEEDING'), right('BYTES'), ...(haveBanned ? [right('BANS')] : [])]
  return ['', ...formatTable([...columns, ...counts], rows)]
}

/** When SYNs are answered, and what has come of it. */
export function synTable({ syn_protection: syn }: Pick<Status, 'syn_protection'>): string[] {
  if (syn === undefined) return []
  const { mode, threshold, answering, ports, floods, syns, answered, completed, invalid } = syn
  const when = mode === 'always' ? 'always' : `auto from ${formatCount(threshold)}/s`
  const columns = [left('SYN PROTECTION'), left('MODE'), left('NOW')]
  const row = [
    ...[`ports ${ports}`, when, answering ? 'answering' : 'not answering'],
    ...[floods, syns, answered, completed, invalid].map(formatCount),
  ]
  const counts = ['FLOODS', 'SYNS', 'ANSWERED', 'COMPLETED', 'INVALID'].map(right)
  return ['', ...formatTable([...columns, ...counts], [row])]
}

const exceptUnparsed = ({ default: verdict, unparsed }: Policy): string =>
  unparsed === verdict ? '' : `, of unparsed packets: ${unparsed}`

function head({ generation, committed_at, policy, program, memory, bans }: Status): string[] {
  const applied = committed_at === undefined ? 'not committed' : `applied ${seconds(committed_at)}`
  const lines = [`Generation ${generation}, ${applied}, ${formatBytes(memory)} of kernel memory`]
  if (policy) lines.push(`Default verdict: ${policy.default}${exceptUnparsed(policy)}`)
  if (policy?.hash_key) lines.push(`Hash key: fingerprint ${shownPolicy(policy).hash_key}`)
  if (bans) lines.push(`Bans: ${formatCount(bans.live)} of at most ${formatCount(bans.capacity)}`)
  if (program) lines.push(`Program: ${program.digest.slice(0, 16)}, tag ${program.tag}, ABI ${program.abi}`)
  return lines
}

/** Backends that are down, each with its reason. */
function healthLines({ health }: WatchState, yellow: (text: string) => string): string[] {
  if (!health || health.down === 0) return []
  const { down, checked, backends } = health
  const lines = backends.map(({ service, backend, since, reason }) => {
    const time = since === undefined ? '' : ` since ${seconds(since)}`
    return `${yellow('!')}   service ${service}: ${backend} is down${time}${reason === undefined ? '' : `: ${reason}`}`
  })
  const omitted = down - backends.length
  const more = omitted > 0 ? [`${yellow('!')}   … ${formatCount(omitted)} more`] : []
  return [`Checks: ${formatCount(down)} of ${formatCount(checked)} backends are down`, ...lines, ...more]
}

/** The daemon's state, with its problems under it. */
function watchLines({ watcher }: Status, { red, yellow }: Paint): string[] {
  if (!watcher) return []
  const { pid, since, errors, drift } = watcher
  const sign = errors.length > 0 ? red('!') : drift.length > 0 ? yellow('!') : undefined
  const now = describeWatch(watcher)
  return [
    `Watched by pid ${pid} since ${seconds(since)}${sign ? '' : `: ${now}`}`,
    ...(sign ? [`${sign}   ${now}`] : []),
    ...healthLines(watcher, yellow),
  ]
}

export function trouble(
  { drifted, leftovers }: Pick<Status, 'drifted' | 'leftovers'>,
  { cyan, yellow }: Paint,
): string[] {
  const drift = drifted.flatMap((one) => driftBlock(one, cyan('!')))
  const left = leftovers.map((path) => `${yellow('!')}   ${path}`)
  return [
    ...(drift.length > 0 ? ['', `${cyan('!')} Drift since the last apply (\`xdp plan\` shows the repair):`] : []),
    ...drift,
    ...(left.length > 0 ? ['', `${yellow('!')} Left over from an interrupted apply; the next apply removes it:`] : []),
    ...left,
  ]
}

/** Whether the instance has nothing in the kernel. */
const isEmpty = ({ generation, interfaces, program }: Status): boolean =>
  generation === 0 && interfaces.length === 0 && program === undefined

/** `now`: Unix time in milliseconds. */
export function renderStatus(
  status: Status,
  { color, now = 0 }: { readonly color: boolean; readonly now?: number },
): string {
  const style = paint(color)
  const { last_apply, committed_at } = status
  const last = last_apply ? lastApplyLines(last_apply, committed_at, color) : []
  const waiting = status.pending ? pendingStatus(status.pending, color) : []
  const rolledBack = status.rollback ? rollbackLines(status.rollback, color) : []
  const copies = copyTable(status.copies ?? [], now)
  const reverted = status.reverted ? ['', ...revertedLines(status.reverted)] : []
  if (isEmpty(status)) {
    const nothing = 'Nothing is applied: this instance has nothing in the kernel.'
    const live = [nothing, ...watchLines(status, style), ...trouble(status, style)]
    const lines = [...live, ...copies, ...last, ...reverted]
    return `${lines.join('\n')}\n`
  }
  const attached =
    status.interfaces.length === 0
      ? ['', 'Attached to no interface: nothing is filtered.']
      : ['', ...interfaceTable(status.interfaces), ...chainStatus(status.interfaces), ...reasonTable(status)]
  const mitigations = [...anomalyTable(status), ...rateTable(status), ...synTable(status)]
  const tables = [...attached, ...listTable(status), ...mitigations, ...serviceTables(status.services)]
  const top = [...head(status), ...waiting, ...rolledBack, ...watchLines(status, style)]
  const lines = [...top, ...tables, ...copies, ...trouble(status, style), ...last, ...reverted]
  return `${lines.join('\n')}\n`
}

export function renderStatusJson(status: Status): string {
  const { interfaces, unknown, lists, rate_limits, services, policy, program, generation, committed_at, bans } = status
  const { anomalies, syn_protection, memory, drift, drifted, leftovers } = status
  const { pending, reverted, rollback, watcher, last_apply } = status
  return jsonDocument({
    interfaces,
    unknown_interfaces: unknown,
    lists,
    anomalies,
    rate_limits,
    syn_protection: syn_protection ?? null,
    services: services.map(serviceStatusJson),
    policy: policyJson(policy, services.length > 0),
    program: program ?? null,
    generation,
    committed_at: committed_at ?? null,
    bans: bans?.live ?? 0,
    bans_capacity: bans?.capacity ?? null,
    copies: copiesJson(status.copies ?? []),
    memory,
    drift,
    drifted: drifted.map(driftJson),
    leftovers,
    pending_confirmation: pending ? pendingJson(pending) : null,
    reverted: reverted ?? null,
    rollback: rollback ? rollbackJson(rollback) : null,
    watch: watcher === undefined ? null : watchJson(watcher),
    last_apply: last_apply ? lastApplyJson(last_apply) : null,
  })
}
