// Conflicts between services that are each valid: overlapping ports of one VIP, addresses with two roles, and replies
// that could belong to two services.

import type { Location } from '../../diagnostics.ts'
import type { Address } from '../../model/address.ts'
import { BACKEND_SLOTS, POOL_SLOTS, SERVICE_SLOTS } from '../../model/limits.ts'
import { formatCount as count } from '../../model/numbers.ts'
import { formatPorts, type PortRange } from '../../model/ports.ts'
import {
  addressTextsOf,
  type Backend,
  backendKey,
  everyBackend,
  isAnyPort,
  isInRing,
  isStandby,
  type OnEmpty,
  takesFlows,
} from '../../model/service.ts'
import { formatAddress } from '../../model/text.ts'
import { type Claim, claimsOf, isAmbiguous } from '../../semantics/replies.ts'
import { fieldOf, keyLocation, locationOf } from '../text/place.ts'
import type { Report } from '../text/report.ts'
import { listed } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import type { ReadService } from './read-service.ts'

const textOf = ({ family, words }: Address): string => formatAddress(family, words)

/** `file:line` of a place. */
const lineText = ({ file, line }: Location): string => `${file}:${line}`

const nameLocation = ({ placed, reading }: ReadService): Location => keyLocation(reading, placed)

function rangeText(range: PortRange): string {
  if (isAnyPort({ ports: [range] })) return 'any port'
  return `${range.first === range.last ? 'port' : 'ports'} ${formatPorts(range)}`
}

const isSameRange = (left: PortRange, right: PortRange): boolean =>
  left.first === right.first && left.last === right.last

/** Whether two ranges are equal, or overlap in part: then neither is the more specific one. */
function isUnclear(left: PortRange, right: PortRange): boolean {
  if (left.first > right.last || right.first > left.last) return false
  const [before, after] = [left.first - right.first, left.last - right.last]
  return (before === 0 && after === 0) || (before > 0 && after > 0) || (before < 0 && after < 0)
}

function reportOverlaps(read: readonly ReadService[], report: Report): void {
  const groups = new Map<string, Taken[]>()
  for (const one of read) {
    for (const taken of takenBy(one)) {
      const group = groups.get(taken.key) ?? []
      groups.set(taken.key, group)
      const other = group.find(({ of, range }) => of !== one && isUnclear(range, taken.range))
      group.push(taken)
      if (other === undefined) continue
      reportOverlap(taken, other, report)
      break
    }
  }
}

/** Ports that a service takes in one protocol. */
interface Taken {
  readonly of: ReadService
  readonly range: PortRange
  /** Protocol and VIP, as text. */
  readonly key: string
}

const takenBy = (of: ReadService): Taken[] =>
  of.service.protocols.flatMap((protocol) =>
    of.service.ports.map((range) => ({ of, range, key: `${protocol} ${textOf(of.service.vip)}` })),
  )

/** Reports the first port that two services both take. */
function reportOverlap({ of, range, key }: Taken, other: Taken, report: Report): void {
  const [protocol] = key.split(' ')
  const { name, vip } = of.service
  const subject = `${protocol} ${rangeText(range)} of ${textOf(vip)}`
  const otherName = other.of.service.name
  const message = `services ${otherName} (${lineText(nameLocation(other.of))}) and ${name} both take ${subject}`
  const hint = isSameRange(range, other.range)
    ? 'change `vip` or `port` of one of them, or move all backends into one service'
    : `${otherName} has ${rangeText(other.range)}: a range may lie inside another, but may not overlap it in part`
  report.error('E041', locationOf(of.reading, portPlace(of, range)), message, hint)
}

/** Place of a range in `port`. */
function portPlace({ placed }: ReadService, range: PortRange): Placed {
  const port = fieldOf(placed, 'port')
  return port.items?.find(({ value }) => `${value}` === formatPorts(range)) ?? port
}

function reportVipBackends(read: readonly ReadService[], report: Report): void {
  const vips = new Map(read.map((one) => [textOf(one.service.vip), one]))
  for (const { service, backends: places, reading } of read) {
    for (const [i, text] of addressTextsOf(service).entries()) {
      const other = vips.get(text)
      if (other === undefined) continue
      const place = places.get(backendKey(everyBackend(service)[i] as Backend))
      if (place === undefined) continue
      const at = lineText(locationOf(other.reading, fieldOf(other.placed, 'vip')))
      const message = `${text} is the VIP of service ${other.service.name} (${at}), so it cannot be a backend`
      const hint = 'write the real address of the backend: packets to a VIP come back to this host'
      report.error('E042', locationOf(reading, place), message, hint)
    }
  }
}

/** Roles of addresses that a source pool may not use. */
function otherRoles(read: readonly ReadService[]): ReadonlyMap<string, string> {
  const backends = read.flatMap(({ service }) =>
    addressTextsOf(service).map((text) => [text, `a backend of service ${service.name}`] as const),
  )
  return new Map([...backends, ...read.map(({ service: { vip } }) => [textOf(vip), 'a VIP'] as const)])
}

function reportPools(all: readonly ReadService[], report: Report): void {
  const read = all.filter(({ service }) => service.snatPool.length > 0)
  if (read.length === 0) return
  const roles = otherRoles(all)
  for (const { service, placed, reading } of read) {
    const at = locationOf(reading, fieldOf(placed, 'snat_pool'))
    for (const address of service.snatPool) {
      const role = roles.get(textOf(address))
      if (role === undefined) continue
      const message = `${textOf(address)} is ${role}, so it cannot be in snat_pool`
      report.error('E047', at, message, 'use addresses that have no other role')
    }
    if (service.snatPool.every(({ family }) => family === service.vip.family)) continue
    const message = `the VIP is IPv${service.vip.family}, but snat_pool has addresses of the other family`
    report.error('E047', at, message, `use IPv${service.vip.family} addresses`)
  }
}

/** Reports backends whose replies could belong to two services. */
function reportAmbiguousReplies(read: readonly ReadService[], report: Report): void {
  const byName = new Map(read.map((one) => [one.service.name, one]))
  const placeOf = ({ service, backend }: Claim): Location | undefined => {
    const one = byName.get(service.name)
    const place = one?.backends.get(backendKey(backend))
    return one && place && locationOf(one.reading, place)
  }
  const groups = new Map<string, Claim[]>()
  for (const claim of read.flatMap(({ service }) => claimsOf(service))) {
    const group = groups.get(claim.key)
    if (group === undefined) groups.set(claim.key, [claim])
    else group.push(claim)
  }
  for (const claims of groups.values()) {
    claims.sort((left, right) => left.ports.first - right.ports.first) // stable: equal ports stay in file order
    let reach = claims[0] as Claim
    for (const claim of claims.slice(1)) {
      if (isAmbiguous(reach, claim)) {
        const [at, other] = [placeOf(claim), placeOf(reach)]
        const names = listed([reach.service.name, claim.service.name], 'and')
        const message =
          `services ${names}${other ? ` (${lineText(other)})` : ''} use the same port of backend ${backendKey(claim.backend)}, ` +
          `so its replies do not show the service`
        const hint =
          'use a different port or address of the backend in one of them, or write `snat: true` and a `snat_pool`'
        report.error('E045', at, message, hint)
      }
      if (claim.ports.last > reach.ports.last) reach = claim
    }
  }
}

function reportLimits(read: readonly ReadService[], report: Report): void {
  const last = read.at(-1)
  if (last === undefined) return
  const at = nameLocation(last)
  if (read.length > SERVICE_SLOTS) {
    const message = `the config has ${count(read.length)} services; one instance can have ${count(SERVICE_SLOTS)}`
    report.error(
      'E209',
      at,
      message,
      'use port ranges, or split the services into groups, each with its config file and `--instance NAME`',
    )
  }
  const backends = read.reduce((sum, { service }) => sum + service.backends.length + (service.sorry ? 1 : 0), 0)
  if (backends > BACKEND_SLOTS) {
    const message = `the services have ${count(backends)} backends; one instance can have ${count(BACKEND_SLOTS)}`
    report.error('E210', at, message, 'split the services into groups, each with its config file and `--instance NAME`')
  }
  const pools = new Set(read.flatMap(({ service }) => service.snatPool.map(textOf)))
  if (pools.size > POOL_SLOTS) {
    const one = read.findLast(({ service }) => service.snatPool.length > 0) ?? last
    const where = locationOf(one.reading, fieldOf(one.placed, 'snat_pool'))
    const message = `snat_pool has too many addresses: all services together can have ${POOL_SLOTS}`
    report.error('E047', where, message, 'a few addresses are enough: each has 64,512 ports')
  }
}

const FATES: Readonly<Record<OnEmpty, string>> = {
  drop: 'dropped',
  pass: 'passed to this host',
  reject: 'rejected',
}

/** Reports backups that no check can call into use, and those that are always in use. */
function warnOfBackups({ service, health, placed, reading }: ReadService, report: Report): void {
  const { name, backends } = service
  if (!backends.some(isStandby)) return
  const at = keyLocation(reading, placed)
  const regular = backends.filter(isInRing)
  if (regular.length === 0) {
    const message = `service ${name}: all backends that take new flows are backups, so the backups take all of them`
    report.warning('W232', at, message, 'remove `backup: true` from the backends that should serve')
  } else if (regular.every((backend) => health?.checks.has(backendKey(backend)) !== true)) {
    const message = `service ${name} has backups, but no other backend has a health check: the backups take new flows only if the others have no next hop`
    report.warning('W232', at, message, 'add `health`, for example `health: { type: tcp }`, and run `xdp watch`')
  }
}

function warnOfEmpty(read: readonly ReadService[], report: Report): void {
  for (const one of read) {
    const { name, backends, onEmpty } = one.service
    if (backends.some(takesFlows)) {
      warnOfBackups(one, report)
      continue
    }
    const why = backends.length === 0 ? 'it has no backend' : 'all are drained, disabled or have weight 0'
    const fate = FATES[onEmpty]
    const message = `service ${name} has no backend for new flows (${why}): they are ${fate}`
    report.warning('W005', nameLocation(one), message, 'add a backend, or remove the service')
  }
}

/** Reports all conflicts between services, which are given in file order. */
export function reportConflicts(read: readonly ReadService[], report: Report): void {
  reportOverlaps(read, report)
  reportVipBackends(read, report)
  reportPools(read, report)
  reportAmbiguousReplies(read, report)
  reportLimits(read, report)
  warnOfEmpty(read, report)
}
