// Warnings about services to read before approving a plan: backends that get no traffic and why, routes with too small
// an MTU, and replies that would not return correctly.

import type { Diagnostic, Location } from '../diagnostics.ts'
import { FORWARDING_MODES, isPlainNat, overheadOf } from '../features/forwarding/forwarding.ts'
import type { Desired } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import { formatCount } from '../model/numbers.ts'
import {
  type Backend,
  backendKey,
  DEFAULT_OUTER_SOURCE,
  everyBackend,
  type NextHop,
  type Service,
} from '../model/service.ts'
import type { State } from '../model/state.ts'
import { formatAddress, sameAddress } from '../model/text.ts'
import type { Change } from './change.ts'
import { addressText, statedMtu } from './next-hops.ts'
import { isOwnVip, martianInterfaces } from './own-vip.ts'
import { ownOf, portsLeft, SNAT_PORT_COUNT } from './source-pools.ts'
import { hintOfTags } from './warn-driver.ts'
import { some } from './words.ts'

type Code = Diagnostic['code']

const warning = (code: Code, message: string, hint: string, at: Location | undefined): Diagnostic => ({
  code,
  severity: 'warning',
  message,
  hint,
  ...(at === undefined ? {} : { at }),
})

interface Context {
  readonly desired: Desired
  readonly state: State
  readonly live: Live
}

const placesOf = ({ desired }: Context, { name }: Service) => desired.provenance.services.get(name)

const vipText = ({ vip: { family, words } }: Service): string => formatAddress(family, words)

/** One warning per reason why backends have no next hop. */
function warnUnresolved(service: Service, context: Context): Diagnostic[] {
  const { live } = context
  const groups = new Map<string, Backend[]>()
  for (const backend of everyBackend(service)) {
    if (backend.nextHop !== undefined || backend.state === 'disabled') continue
    const why = live.unresolved.get(addressText(backend)) ?? 'the next hop is unknown'
    groups.set(why, [...(groups.get(why) ?? []), backend])
  }
  return [...groups].map(([why, backends]) => {
    const [first] = backends as [Backend]
    const [verb, pronoun] = backends.length === 1 ? ['gets', 'it'] : ['get', 'them']
    const message = `service ${service.name}: ${some(backends.map(addressText))} ${verb} no traffic: ${why}`
    const hint = `try \`ip route get ${addressText(first)}\` and \`ping ${addressText(first)}\`; the next apply resolves ${pronoun} again`
    return warning('W211', message, hint, placesOf(context, service)?.backend(backendKey(first)))
  })
}

function warnVip(service: Service, context: Context): Diagnostic[] {
  const { live } = context
  const [text, at] = [vipText(service), placesOf(context, service)?.vip]
  const device = live.unanswered.get(text)
  if (device !== undefined) {
    const message = `no host answers for ${text} on ${device}: it is in the network of that link but is not an address of this host`
    const hint = `run \`ip addr add ${text}/${service.vip.family === 4 ? 32 : 128} dev ${device}\`, or route it to this host`
    return [warning('W213', message, hint, at)]
  }
  if (!isOwnVip(service, live)) return []
  const message = `${text} is an address of this host: packets that no service takes reach the host itself`
  return [warning('W212', message, 'if this host should not answer for the VIP itself, block the other ports', at)]
}

/** Answers that come from the VIP itself, through a host that has it. */
function warnMartians(service: Service, context: Context): Diagnostic[] {
  const devices = martianInterfaces(service, context.live)
  if (devices.length === 0) return []
  const text = vipText(service)
  const message = `service ${service.name}: ${text} is an address of this host, so it drops answers from ${text} that come back through it on ${some(devices)}`
  const keys = devices.map((device) => `net.ipv4.conf.${device}.accept_local=1`)
  const hint = `if this host is the gateway of the backends, remove ${text} from it and route ${text} to it, or run \`sysctl -w ${keys.join(' ')}\``
  return [warning('W229', message, hint, placesOf(context, service)?.vip)]
}

/** One warning about the services that become plain NAT with this plan. */
function warnClients(services: readonly Service[], context: Context): Diagnostic[] {
  const [first] = services
  if (first === undefined) return []
  const names = `service${services.length === 1 ? '' : 's'} ${some(services.map(({ name }) => name))}`
  const message = `${names}: a backend that connects to the VIP of its own service gets no answer from itself or from a backend on the same link, because nat without a source pool leaves its address in the packet, and the answer goes past this host`
  const hint =
    'if backends do that, add `snat_pool`, or let them connect to addresses of backends; clients elsewhere are not affected'
  return [warning('W230', message, hint, placesOf(context, first)?.at)]
}

/** Whether a change makes a service one of plain NAT. */
const becomesPlain = (change: Change): boolean =>
  change.kind === 'service' &&
  change.op !== 'delete' &&
  isPlainNat(change.after) &&
  change.after.backends.length > 0 &&
  !(change.before && isPlainNat(change.before))

/** Least MTU of a link in bytes (RFC 8200 §5); for IPv4, the packet size that every host must accept (RFC 791). */
const LEAST_MTU = { 4: 576, 6: 1280 } as const
/** MTU of Ethernet in bytes, which most clients use. */
const USUAL_MTU = 1500

/** One warning per service and interface whose MTU is too small for encapsulated packets. */
function warnMtu(service: Service, context: Context): Diagnostic[] {
  const reported = new Set<string>()
  return everyBackend(service).flatMap((backend): Diagnostic[] => {
    const overhead = overheadOf(service, backend.address.family)
    const { nextHop } = backend
    if (overhead === 0 || nextHop === undefined) return []
    const fits = nextHop.mtu - overhead
    const key = `${nextHop.interface} ${fits}`
    if (fits >= USUAL_MTU || reported.has(key)) return []
    reported.add(key)
    const at = placesOf(context, service)?.backend(backendKey(backend))
    const isOfFile = statedMtu(service, backend) === nextHop.mtu
    const limit = isOfFile ? '`mtu`' : `the MTU of ${nextHop.interface}`
    const reason = `${service.forwarding} adds ${overhead} bytes and ${limit} is ${nextHop.mtu}`
    if (fits < LEAST_MTU[service.vip.family]) {
      const message = `service ${service.name}: packets to ${addressText(backend)} do not fit: ${reason}, which leaves ${fits} bytes`
      const larger = isOfFile ? 'write a larger `mtu`' : `\`ip link set ${nextHop.interface} mtu 1600\``
      return [warning('W218', message, `if the network supports it: ${larger}`, at)]
    }
    // Its author knows that.
    if (isOfFile) return []
    const message = `service ${service.name}: ${reason}, so this host reports a path MTU of ${fits} bytes to clients`
    const headers = service.vip.family === 4 ? 40 : 60
    const hint = `run \`ip link set ${nextHop.interface} mtu ${USUAL_MTU + overhead}\`, or set \`advmss ${fits - headers}\` on the route of the backends`
    return [warning('W219', message, hint, at)]
  })
}

const isDefaultSource = ({ outerSource: { v4, v6 } }: Service, family: 4 | 6): boolean =>
  family === 4
    ? sameAddress(v4.address, DEFAULT_OUTER_SOURCE.v4.address) && v4.length === DEFAULT_OUTER_SOURCE.v4.length
    : sameAddress(v6, DEFAULT_OUTER_SOURCE.v6)

/**
 * Tunnels through routers whose reports of a smaller MTU go to the default outer source, which is routed nowhere. Silent
 * where the file or a route states the MTU.
 */
function warnReports(service: Service, context: Context): Diagnostic[] {
  const { gateways, links } = context.live
  const unheard = everyBackend(service).filter((backend) => {
    const { address, nextHop } = backend
    if (statedMtu(service, backend) !== undefined) return false
    const behind = overheadOf(service, address.family) > 0 && gateways.has(addressText({ address }))
    return (
      behind && nextHop?.mtu === links.get(nextHop?.interface ?? '')?.mtu && isDefaultSource(service, address.family)
    )
  })
  const [first] = unheard
  if (first === undefined) return []
  const names = some(unheard.map(addressText))
  const key = first.address.family === 4 ? 'v4' : 'v6'
  const message = `service ${service.name}: routers towards ${names} report a smaller MTU to the default \`outer_source\`, which is not routed to this host; then transfers through them hang`
  const hint = `write \`outer_source: { ${key}: … }\` with addresses that are routed to this host, or \`mtu: ${first.nextHop?.mtu}\` if all links on the way have that MTU`
  return [warning('W233', message, hint, placesOf(context, service)?.backend(backendKey(first)))]
}

/**
 * NAT needs replies to return through this host; without a source pool, the kernel must also forward them to clients.
 */
function warnReplies(service: Service, { live, state, desired }: Context): Diagnostic[] {
  if (!FORWARDING_MODES[service.forwarding].translatesReplies || service.backends.length === 0) return []
  const at = desired.provenance.services.get(service.name)?.at
  const { family } = service.vip
  const found: Diagnostic[] = []
  if (isPlainNat(service) && !(family === 4 ? live.forwards.v4 : live.forwards.v6)) {
    const message = `service ${service.name}: this host does not forward IPv${family}, so replies of backends do not reach clients`
    const key = family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding'
    found.push(warning('W214', message, `run \`sysctl -w ${key}=1\`, which forwards between all interfaces`, at))
  }
  for (const device of egressOf(service)) {
    if (state.interfaces.get(device)?.roles.includes('balance')) continue
    const message = `service ${service.name}: replies that arrive on ${device} are not translated back, because it is not an interface with the role balance`
    found.push(warning('W215', message, `add \`${device}: { roles: [balance] }\` to interfaces`, at))
  }
  return found
}

const egressOf = (service: Service): readonly string[] => [
  ...new Set(everyBackend(service).flatMap(({ nextHop }) => nextHop?.interface ?? [])),
]

/** Kinds of devices that cannot transmit frames of native XDP; for a bridge, send to its ports. */
const WITHOUT_TRANSMIT = new Set(['bridge', 'ifb', 'vlan'])

/** Warns if frames sent by native XDP may be lost: a veth needs a program on its peer, most cards need one of ours. */
function warnEgress(hops: readonly NextHop[], { live, state, desired }: Context): Diagnostic[] {
  const attached = [...state.interfaces.values()]
  if (!attached.some(({ modes, roles }) => roles.includes('balance') && modes[0] === 'native')) return []
  const devices = [...new Set(hops.map((hop) => hop.interface))].sort()
  const kindOf = (device: string): string => live.links.get(device)?.kind ?? ''
  const at = (device: string | undefined): Location | undefined => desired.options.get(device ?? '')?.at
  const veths = devices.filter((device) => kindOf(device) === 'veth')
  const generic = 'or use `mode: generic`'
  const ofVeth = warning(
    'W216',
    `frames that native XDP sends to ${some(veths)} arrive only if the veth peer has an XDP program (GRO is enough for frames from other interfaces)`,
    `attach a program that passes every packet to the peer, ${generic}`,
    at(veths[0]),
  )
  const others = devices.flatMap((device): Diagnostic[] => {
    const kind = kindOf(device)
    if (WITHOUT_TRANSMIT.has(kind)) {
      const message = `backends are behind ${device}, a ${kind}, which cannot transmit frames of native XDP`
      return [warning('W217', message, `route to the backends through the interface below it, ${generic}`, at(device))]
    }
    if (kind !== 'physical' || state.interfaces.has(device)) return []
    const message = `backends are behind ${device}, which is not under interfaces: many drivers transmit frames of XDP only with a program attached`
    return [warning('W217', message, `add \`${device}: { roles: [balance] }\` to interfaces`, undefined)]
  })
  return veths.length > 0 ? [ofVeth, ...others] : others
}

/** Full NAT stores the tag of a client's frame for the answer; echo replies and ICMP errors turn the frame round. */
function warnTags(services: readonly Service[], { live, state, desired }: Context): Diagnostic[] {
  const translated = services.filter(({ snatPool }) => snatPool.length > 0).map(({ name }) => name)
  const answers = ['echo replies', '"packet too big"', ...(translated.length > 0 ? [`all of ${some(translated)}`] : [])]
  return [...live.stripping].flatMap(([device, stripping]) => {
    const hasVlans = [...live.links.values()].some(({ vlan }) => vlan?.parent === device)
    if (!hasVlans || !state.interfaces.get(device)?.roles.includes('balance')) return []
    const message = `${some(stripping)} takes VLAN tags out of received frames before XDP (rx-vlan-offload), so answers of the balancer to clients in a VLAN of ${device} leave untagged and are lost: ${answers.join(', ')}`
    return [warning('W222', message, hintOfTags(stripping, live), desired.options.get(device)?.at)]
  })
}

function warnPool(service: Service, context: Context): Diagnostic[] {
  const { live } = context
  const own = ownOf(service, live)
  if (own.length === 0) return []
  const { first, last } = live.localPorts
  const names = some(own.map(({ family, words }) => formatAddress(family, words)))
  const message = `service ${service.name}: ${names} in snat_pool ${own.length === 1 ? 'is an address' : 'are addresses'} of this host, so flows get ${formatCount(portsLeft(live.localPorts))} of ${formatCount(SNAT_PORT_COUNT)} ports: not ${first} to ${last}, which its own connections use`
  const hint = 'for all ports, use addresses that are routed to this host but not configured on it'
  return [warning('W227', message, hint, placesOf(context, service)?.at)]
}

/**
 * Every warning about services, sorted by name. Unchanged services get only warnings about backends without a next hop.
 */
export function warnServices(context: Context, changes: readonly Change[]): Diagnostic[] {
  const { state } = context
  const changed = changes.flatMap((change) =>
    change.kind === 'service' && change.op !== 'delete' ? [change.after] : [],
  )
  const edited = changes.flatMap((change) =>
    change.kind === 'service' && change.op !== 'delete' && change.reason !== 'drift' ? [change.after] : [],
  )
  const plain = new Set(changes.flatMap((change) => (becomesPlain(change) ? [change.after as Service] : [])))
  const vips = new Map(edited.map((service) => [vipText(service), service]))
  const attaches = changes.some(({ kind, op }) => kind === 'interface' && op !== 'delete')
  const services = [...state.services.values()].sort((left, right) => (left.name < right.name ? -1 : 1))
  const hops = changed.flatMap(hopsOf)
  const egress = attaches ? services.flatMap(hopsOf) : hops
  return [
    ...services.flatMap((service) => warnUnresolved(service, context)),
    ...[...vips.values()].flatMap((service) => warnVip(service, context)),
    ...edited.flatMap((service) => warnMartians(service, context)),
    ...changed.flatMap((service) => warnMtu(service, context)),
    ...edited.flatMap((service) => warnReports(service, context)),
    ...edited.flatMap((service) => warnReplies(service, context)),
    ...warnClients(
      edited.filter((service) => plain.has(service)),
      context,
    ),
    ...edited.flatMap((service) => warnPool(service, context)),
    ...(egress.length > 0 ? warnEgress(egress, context) : []),
    ...(services.length > 0 && (attaches || edited.length > 0) ? warnTags(services, context) : []),
  ]
}

const hopsOf = (service: Service): NextHop[] => everyBackend(service).flatMap(({ nextHop }) => nextHop ?? [])
