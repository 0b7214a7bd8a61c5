// The lines under a change of a service: its settings, its added, removed and changed backends, and the effect on
// flows.

import type { Provenance } from '../model/desired.ts'
import { formatCount, plural } from '../model/numbers.ts'
import { type Backend, backendKey, DRAIN_TIMEOUT, type Service } from '../model/service.ts'
import type { BackendDelta, Change, ServiceDelta } from '../plan/change.ts'
import { hopChange, hopText, sameHop } from '../plan/next-hops.ts'
import { changedSettings, keepsFlows, settingsOf } from '../plan/services.ts'
import { flowShares } from '../plan/shares.ts'
import { formatSeconds } from './duration.ts'
import type { Paint } from './paint.ts'
import { lineOf } from './service-json.ts'

type ServiceChange = Extract<Change, { kind: 'service' }>

/** `24.9 %`. Never rounds to 0 % or 100 %. */
export function formatShare(share: number): string {
  if (share > 0 && share < 0.0005) return 'less than 0.1 %'
  if (share < 1 && share >= 0.9995) return 'more than 99.9 %'
  return `${(share * 100).toFixed(1).replace(/\.0$/, '')} %`
}

/** `tcp 192.0.2.10 port 443, nat, maglev over five_tuple`. */
function identity(service: Service): string {
  const { vip, port, protocol, forwarding, scheduler, hash, snat_pool: pool } = settingsOf(service)
  const full = service.snatPool.length === 0 ? '' : ` from ${pool}`
  return `${protocol} ${vip} port ${port}, ${forwarding}${full}, ${scheduler} over ${hash}`
}

/** The time for which a draining or removed backend keeps its flows. */
function keeping(service: Service, seconds: number | undefined): string {
  const timeout = seconds ?? service.drainTimeout
  return timeout === undefined ? 'keeps its flows' : `keeps its flows for ${formatSeconds(timeout)}`
}

const stateText = ({ weight, state, backup, mtu }: Backend): string =>
  [
    `weight ${weight}`,
    ...(state === 'active' ? [] : [state]),
    ...(backup ? ['backup'] : []),
    ...(mtu === undefined ? [] : [`MTU ${mtu}`]),
  ].join(', ')

const mtuText = (mtu: number | undefined): string => (mtu === undefined ? 'of the service' : `${mtu}`)

function removedText(key: string, old: Backend, before: Service, after: Service): string {
  const stays = keepsFlows(before, after) && old.state !== 'disabled' && old.nextHop !== undefined
  return `backend ${key} removed${stays ? `, ${keeping(after, after.drainTimeout ?? DRAIN_TIMEOUT)}` : ''}`
}

function changedText(key: string, old: Backend, now: Backend, after: Service): string {
  const parts: string[] = []
  if (old.weight !== now.weight) {
    const drained = now.weight === 0 && now.state === 'active' ? `, ${keeping(after, undefined)}` : ''
    parts.push(`weight ${old.weight} -> ${now.weight}${drained}`)
  }
  if (old.state !== now.state) {
    const fate =
      now.state === 'drain' ? `, ${keeping(after, undefined)}` : now.state === 'disabled' ? ', its flows end' : ''
    parts.push(`state ${old.state} -> ${now.state}${fate}`)
  }
  if (old.backup !== now.backup) parts.push(now.backup ? 'now a backup, keeps its flows' : 'no longer a backup')
  if (old.mtu !== now.mtu) parts.push(`mtu: ${mtuText(old.mtu)} -> ${mtuText(now.mtu)}`)
  if (!sameHop(old.nextHop, now.nextHop)) parts.push(hopChange(old.nextHop, now.nextHop))
  return `backend ${key}: ${parts.join('; ')}`
}

function deltaText({ key, before: old, after: now }: BackendDelta, before: Service, after: Service): string {
  if (old === undefined) return `backend ${key} added (${stateText(now as Backend)})`
  return now === undefined ? removedText(key, old, before, after) : changedText(key, old, now, after)
}

const movedText = (moved: number | undefined): string | undefined =>
  moved === undefined || moved === 0 ? undefined : `${formatShare(moved)} of new flows move`

/** The first lines, and a count of the others. */
function some(lines: readonly string[], most: number): string[] {
  const rest = lines.length - most
  if (rest <= 0) return [...lines]
  return [...lines.slice(0, most), `... and ${formatCount(rest)} more (--full shows them)`]
}

function updateLines(
  { before, after, balance }: ServiceChange & { op: 'update' | 'replace' },
  provenance: Provenance | undefined,
  most: number,
  { dim }: Paint,
): string[] {
  const { backends, moved } = balance as ServiceDelta
  const [left, right] = [settingsOf(before), settingsOf(after)]
  const settings = changedSettings(before, after).map((name) => `${name}: ${left[name]} -> ${right[name]}`)
  const places = provenance?.services.get(after.name)
  const share = movedText(moved)
  const alone = settings.length === 0 && backends.length === 1 && share !== undefined
  const lines = backends.map((delta) => {
    const at = delta.after && lineOf(places, delta.key)
    return `${deltaText(delta, before, after)}${alone ? `: ${share}` : ''}${at ? dim(`  # ${at}`) : ''}`
  })
  const sorry =
    before.sorry && after.sorry && !sameHop(before.sorry.nextHop, after.sorry.nextHop)
      ? [`sorry backend ${backendKey(after.sorry)}: ${hopChange(before.sorry.nextHop, after.sorry.nextHop)}`]
      : []
  const ends = keepsFlows(before, after) ? [] : ['existing flows end']
  const total = share === undefined || alone ? [] : [share]
  const all = [...settings, ...some(lines, most), ...sorry, ...total, ...ends]
  return all.length > 0 ? all : ['rewritten; the content already matches the config']
}

/** One line per backend, in columns. */
function backendLines(service: Service, provenance: Provenance | undefined, most: number, { dim }: Paint): string[] {
  const shares = flowShares(service)
  const places = provenance?.services.get(service.name)
  const rows = service.backends.map((backend, index) => {
    const share = shares[index] as number
    const key = backendKey(backend)
    const at = lineOf(places, key)
    const hop = backend.nextHop ? `to ${hopText(backend.nextHop)}` : 'next hop unknown'
    const takes = share > 0 ? `${stateText(backend)}, ${formatShare(share)}` : stateText(backend)
    return { key, takes, hop, at: at ? dim(`  # ${at}`) : '' }
  })
  const width = (pick: (row: (typeof rows)[number]) => string): number =>
    rows.slice(0, most).reduce((widest, row) => Math.max(widest, pick(row).length), 0)
  const [keys, takes] = [width((row) => row.key), width((row) => row.takes)]
  return some(
    rows.map((row) => `${row.key.padEnd(keys)}  ${row.takes.padEnd(takes)}  ${row.hop}${row.at}`),
    most,
  )
}

/** The lines under the title, not indented. `most`: most backends shown. */
export function serviceLines(
  change: ServiceChange,
  provenance: Provenance | undefined,
  most: number,
  style: Paint,
): string[] {
  if (change.op === 'delete')
    return [identity(change.before), `${plural(change.before.backends.length, 'backend')}; existing flows end`]
  if (change.op !== 'create') return updateLines(change, provenance, most, style)
  const { after } = change
  const sorry = after.sorry ? [`sorry backend ${backendKey(after.sorry)}`] : []
  const backends = after.backends.length === 0 ? ['no backends'] : backendLines(after, provenance, most, style)
  return [identity(after), ...backends, ...sorry]
}

/** The summary of a change in one line: `+1 -0 ~2 backends, 24.9 % of new flows move`. */
export function serviceNote({ balance }: ServiceChange): string {
  const { backends, moved } = balance ?? { backends: [], moved: undefined }
  const added = backends.filter(({ before }) => before === undefined).length
  const removed = backends.filter(({ after }) => after === undefined).length
  const share = movedText(moved)
  const counts = `+${formatCount(added)} -${formatCount(removed)} ~${formatCount(backends.length - added - removed)} backends`
  return share === undefined ? counts : `${counts}, ${share}`
}
