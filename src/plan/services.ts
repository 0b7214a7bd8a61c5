// The difference of two services: the backends that are added, removed and changed, the share of new flows that moves,
// and the impact on existing flows.

import type { Address } from '../model/address.ts'
import {
  type Backend,
  backendKey,
  everyBackend,
  onlyPort,
  portsText,
  protocolsText,
  type Service,
} from '../model/service.ts'
import { sameAddress } from '../model/text.ts'
import type { BackendDelta, Change, ChangeReason, Impact, ServiceDelta } from './change.ts'
import { sameHop } from './next-hops.ts'
import { movedShare } from './shares.ts'
import { sortedPool } from './source-pools.ts'

/** Whether two backends with the same key are equal except for their next hops. */
const sameConfig = (left: Backend, right: Backend): boolean =>
  left.weight === right.weight && left.state === right.state && left.backup === right.backup && left.mtu === right.mtu

const sameBackend = (left: Backend, right: Backend): boolean =>
  sameConfig(left, right) && sameHop(left.nextHop, right.nextHop)

/** The one setting that comes from the kernel: another value is drift. */
const HOST_PORTS = 'ports of sockets of this host'

function hostPortsText({ snatPool }: Service): string {
  const texts = sortedPool(snatPool).flatMap(({ hostPorts, ...address }) =>
    hostPorts ? `${backendKey({ address, port: undefined })} ${hostPorts.first}-${hostPorts.last}` : [],
  )
  return texts.join(', ') || 'none'
}

/** The settings of a service, without its backends, as comparable texts. */
export function settingsOf(service: Service): Readonly<Record<string, string>> {
  const { outerSource } = service
  const text = ({ address, port }: Pick<Backend, 'address' | 'port'>): string => backendKey({ address, port })
  const plain = (address: Address): string => text({ address, port: undefined })
  return {
    vip: plain(service.vip),
    port: portsText(service),
    protocol: protocolsText(service),
    forwarding: service.forwarding,
    scheduler: service.scheduler,
    hash: service.hash,
    on_empty: service.onEmpty,
    snat_pool: sortedPool(service.snatPool).map(plain).join(', ') || 'none',
    replies_from: service.repliesFrom,
    [HOST_PORTS]: hostPortsText(service),
    gue_port: `${service.guePort}`,
    outer_source: `${plain(outerSource.v4.address)}/${outerSource.v4.length}, ${plain(outerSource.v6)}/64`,
    udp_timeout: `${service.udpTimeout}s`,
    drain_timeout: service.drainTimeout === undefined ? 'default' : `${service.drainTimeout}s`,
    mtu: service.mtu === undefined ? 'of the next hops' : `${service.mtu}`,
    sorry: service.sorry ? text(service.sorry) : 'none',
  }
}

/** Names of the settings that differ. */
export function changedSettings(before: Service, after: Service): string[] {
  const [left, right] = [settingsOf(before), settingsOf(after)]
  return Object.keys(left).filter((name) => left[name] !== right[name])
}

function backendDeltas(before: readonly Backend[], after: readonly Backend[]): BackendDelta[] {
  const live = new Map(before.map((backend) => [backendKey(backend), backend]))
  const changed = after.flatMap((backend): BackendDelta[] => {
    const key = backendKey(backend)
    const old = live.get(key)
    live.delete(key)
    return old !== undefined && sameBackend(old, backend) ? [] : [{ key, before: old, after: backend }]
  })
  const removed = [...live].map(([key, backend]): BackendDelta => ({ key, before: backend, after: undefined }))
  return [...changed, ...removed].sort((left, right) => (left.key < right.key ? -1 : 1))
}

/** The changes of backends, and the share of new flows that moves. */
export function serviceDelta(before: Service | undefined, after: Service | undefined): ServiceDelta {
  const backends = backendDeltas(before?.backends ?? [], after?.backends ?? [])
  const isSameSet = backends.every((delta) => delta.before && delta.after && sameConfig(delta.before, delta.after))
  return { backends, moved: before && after ? movedShare(before, after, isSameSet) : undefined }
}

/** Whether two services differ only in facts of this host. */
function sameConfigs({ backends }: ServiceDelta, settings: readonly string[]): boolean {
  return (
    settings.every((name) => name === HOST_PORTS) &&
    backends.every(({ before, after }) => before && after && sameConfig(before, after))
  )
}

const sameSorry = (left: Service, right: Service): boolean =>
  left.sorry === undefined || right.sorry === undefined
    ? left.sorry === right.sorry
    : sameHop(left.sorry.nextHop, right.sorry.nextHop)

/** Settings that select the packets of flows, distinguish flows, or change how backends see them. */
const OF_FLOWS: readonly string[] = ['vip', 'forwarding', 'hash', 'gue_port']

/** Whether a source pool loses no address. */
const onlyGrows = (before: readonly Address[], after: readonly Address[]): boolean =>
  (before.length > 0 || after.length === 0) &&
  before.every((address) => after.some((other) => sameAddress(address, other)))

/**
 * Whether one service takes the packets of every port and protocol of the other. Answers of backends with a port of their
 * own get the service's only port, which must stay.
 */
function takesPacketsOf(before: Service, after: Service): boolean {
  if (!before.protocols.every((protocol) => after.protocols.includes(protocol))) return false
  if (onlyPort(before) !== onlyPort(after) && everyBackend(before).some(({ port }) => port !== undefined)) return false
  return before.ports.every(({ first, last }) => {
    let port = first
    for (const range of after.ports) if (range.first <= port && port <= range.last) port = range.last + 1
    return port > last
  })
}

/** Whether flows of one service remain flows of the other, apart from changes of backends. */
export function keepsFlows(before: Service, after: Service): boolean {
  if (before === after) return true
  if (!takesPacketsOf(before, after)) return false
  const [left, right] = [settingsOf(before), settingsOf(after)]
  return OF_FLOWS.every((name) => left[name] === right[name]) && onlyGrows(before.snatPool, after.snatPool)
}

/** Whether existing flows end or lose their backend at once. */
function endsFlows(before: Service, after: Service, { backends }: ServiceDelta): boolean {
  if (!keepsFlows(before, after)) return true
  return backends.some(({ before: old, after: now }) => {
    if (old === undefined || old.state === 'disabled' || old.nextHop === undefined) return false
    return now !== undefined && (now.state === 'disabled' || now.nextHop === undefined)
  })
}

function impactOf(before: Service, after: Service, delta: ServiceDelta): Impact {
  if (endsFlows(before, after, delta)) return 'traffic-gap'
  if (delta.moved === undefined) return delta.backends.length > 0 ? 'new-flows' : 'hitless'
  return delta.moved > 0 ? 'new-flows' : 'hitless'
}

/** The change that turns one service into the other, if there is one. */
export function diffService(
  name: string,
  before: Service | undefined,
  after: Service | undefined,
  drifted: boolean,
): Change[] {
  const common = { kind: 'service', key: `service:${name}` } as const
  if (before === undefined) {
    if (after === undefined) return []
    const reason: ChangeReason = drifted ? 'drift' : 'new-in-config'
    return [{ ...common, op: 'create', before, after, impact: 'hitless', reason, balance: serviceDelta(before, after) }]
  }
  if (after === undefined) {
    const balance = serviceDelta(before, after)
    return [{ ...common, op: 'delete', before, after, impact: 'traffic-gap', reason: 'not-in-config', balance }]
  }
  if (before === after && !drifted) return []
  const settings = changedSettings(before, after)
  const balance = serviceDelta(before, after)
  const same = settings.length === 0 && balance.backends.length === 0 && sameSorry(before, after)
  if (same && !drifted) return []
  const reason: ChangeReason = sameConfigs(balance, settings) ? 'drift' : 'config-changed'
  const impact = impactOf(before, after, balance)
  return [{ ...common, op: 'update', before, after, impact, reason, balance }]
}
