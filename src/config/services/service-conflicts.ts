// What is wrong between services, each of which is right by itself: ports of one VIP that overlap, addresses that are
// two things at once, replies that could be of two services.

import type { Location } from '../../diagnostics.ts'
import type { Address } from '../../model/address.ts'
import { BACKEND_SLOTS, POOL_SLOTS, SERVICE_SLOTS } from '../../model/limits.ts'
import { formatCount as count } from '../../model/numbers.ts'
import {
  addressTextsOf,
  type Backend,
  backendKey,
  everyBackend,
  isAnyPort,
  type Service,
  takesFlows,
} from '../../model/service.ts'
import { formatAddress } from '../../model/text.ts'
import { type Claim, claimsOf, isAmbiguous } from '../../semantics/replies.ts'
import { fieldOf, keyLocation, locationOf } from '../text/place.ts'
import type { Report } from '../text/report.ts'
import { listed } from '../text/show.ts'
import type { ReadService } from './read-service.ts'

const textOf = ({ family, words }: Address): string => formatAddress(family, words)

/** `file:line` of a place. */
const lineText = ({ file, line }: Location): string => `${file}:${line}`

const nameLocation = ({ placed, reading }: ReadService): Location => keyLocation(reading, placed)

function portsText(service: Service): string {
  if (isAnyPort(service)) return 'any port'
  const { first, last } = service.ports
  return first === last ? `port ${first}` : `ports ${first}-${last}`
}

/** Whether two ranges overlap and neither lies inside the other, or they are the same: then none is the nearer one. */
function isUnclear({ ports: left }: Service, { ports: right }: Service): boolean {
  if (left.first > right.last || right.first > left.last) return false
  const [before, after] = [left.first - right.first, left.last - right.last]
  return (before === 0 && after === 0) || (before > 0 && after > 0) || (before < 0 && after < 0)
}

function reportOverlaps(read: readonly ReadService[], report: Report): void {
  const groups = new Map<string, ReadService[]>()
  for (const one of read) {
    const key = `${one.service.protocol} ${textOf(one.service.vip)}`
    const group = groups.get(key) ?? []
    groups.set(key, group)
    const other = group.find(({ service }) => isUnclear(service, one.service))
    group.push(one)
    if (other === undefined) continue
    const { name, protocol, vip } = one.service
    const what = `${protocol} ${portsText(one.service)} of ${textOf(vip)}`
    const message = `services ${other.service.name} (${lineText(nameLocation(other))}) and ${name} both take ${what}`
    const hint =
      one.service.ports.first === other.service.ports.first && one.service.ports.last === other.service.ports.last
        ? 'give one of them another vip or port, or put the backends of both into one'
        : `${other.service.name} has ${portsText(other.service)}: a range may lie inside another, but not overlap it in part`
    report.error('E041', locationOf(one.reading, fieldOf(one.placed, 'port')), message, hint)
  }
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
      const hint = 'write the address that the backend itself has; packets to a VIP come back to this host'
      report.error('E042', locationOf(reading, place), message, hint)
    }
  }
}

/** What an address of a source pool must not be. */
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
      report.error('E047', at, message, 'use addresses that nothing else has')
    }
    if (service.snatPool.every(({ family }) => family === service.vip.family)) continue
    const message = `the VIP is IPv${service.vip.family}, and snat_pool has addresses of the other family`
    report.error('E047', at, message, 'use addresses of the family of the VIP')
  }
}

/** Backends whose replies could be of two services. */
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
    claims.sort((left, right) => left.ports.first - right.ports.first) // those that begin alike stay in file order
    let reach = claims[0] as Claim
    for (const claim of claims.slice(1)) {
      if (isAmbiguous(reach, claim)) {
        const [at, other] = [placeOf(claim), placeOf(reach)]
        const names = listed([reach.service.name, claim.service.name], 'and')
        const message =
          `backend ${backendKey(claim.backend)} answers for services ${names}` +
          `${other ? ` (${lineText(other)})` : ''} from the same port, and its replies do not tell for which`
        const hint = 'give it another port or address for one of them, or use `snat: true`'
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
    const message = `there are ${count(read.length)} services; one instance can have ${count(SERVICE_SLOTS)}`
    report.error('E209', at, message, 'use port ranges, or a file and --instance for each group')
  }
  const backends = read.reduce((sum, { service }) => sum + service.backends.length + (service.sorry ? 1 : 0), 0)
  if (backends > BACKEND_SLOTS) {
    const message = `the services have ${count(backends)} backends; one instance can have ${count(BACKEND_SLOTS)}`
    report.error('E210', at, message, 'use a file and --instance for each group of services')
  }
  const pools = new Set(read.flatMap(({ service }) => service.snatPool.map(textOf)))
  if (pools.size > POOL_SLOTS) {
    const one = read.findLast(({ service }) => service.snatPool.length > 0) ?? last
    const where = locationOf(one.reading, fieldOf(one.placed, 'snat_pool'))
    const message = `snat_pool holds more addresses than ${POOL_SLOTS}, which is the most for all services together`
    report.error('E047', where, message, 'each address has 64,512 ports; a few are enough')
  }
}

function warnOfEmpty(read: readonly ReadService[], report: Report): void {
  for (const one of read) {
    const { name, backends, onEmpty } = one.service
    if (backends.some(takesFlows)) continue
    const why = backends.length === 0 ? 'it has none' : 'all of them are drained, disabled or have weight 0'
    const fate = onEmpty === 'drop' ? 'dropped' : 'passed to this host'
    const message = `no backend of service ${name} takes new flows: ${why}, so they are ${fate}`
    report.warning('W005', nameLocation(one), message, 'add a backend, or remove the service')
  }
}

/** Reports everything that is wrong between services, which are given in the order in which they are written. */
export function reportConflicts(read: readonly ReadService[], report: Report): void {
  reportOverlaps(read, report)
  reportVipBackends(read, report)
  reportPools(read, report)
  reportAmbiguousReplies(read, report)
  reportLimits(read, report)
  warnOfEmpty(read, report)
}
