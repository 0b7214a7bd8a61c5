// Warnings about a valid config that its author may not have intended.

import { statSync } from 'node:fs'
import type { Location } from '../diagnostics.ts'
import type { AddressSet, Family, Ranges } from '../model/address.ts'
import type { Desired } from '../model/desired.ts'
import { findOrigin } from '../model/provenance.ts'
import { EMPTY_SET, subtract, union } from '../model/ranges.ts'
import type { RateLimit } from '../model/rate-limit.ts'
import { decides, sourcesOf } from '../model/rate-sources.ts'
import { decidesAlone } from '../model/scope.ts'
import type { List, ScopedSet, State } from '../model/state.ts'
import type { Part } from './text/part.ts'
import type { Report } from './text/report.ts'
import type { Reads } from './text/source.ts'

/** Whether a set holds every address of its family. */
const isEverything = ({ length, start, end }: Ranges): boolean =>
  length === 1 && start.every((word) => word === 0) && end.every((word) => word === 0xffffffff)

const isAnyPacket = ({ scope }: ScopedSet): boolean => decidesAlone(scope) && scope.interfaces === undefined

/** The line with the lowest address of a list. */
function firstEntry({ provenance }: Desired, name: string, family: Family): Location | undefined {
  return placeOf(provenance, findOrigin(provenance, name, family, new Uint32Array(4)))
}

function placeOf(provenance: Desired['provenance'], found: ReturnType<typeof findOrigin>): Location | undefined {
  const file = found && provenance.files[found.source.file]
  return file === undefined ? undefined : { file, line: found?.entries.line[found.entry] || 1, column: 1, length: 1 }
}

function warnOfList(desired: Desired, { kind, name, sets }: List, family: Family, report: Report): void {
  const whole = sets.some((set) => isAnyPacket(set) && isEverything(family === 4 ? set.addresses.v4 : set.addresses.v6))
  if (!whole) return
  const at = firstEntry(desired, name, family)
  if (kind === 'allowlist') {
    const message = `the allowlist covers every IPv${family} address: no IPv${family} packet is dropped`
    report.warning('W001', at, message, 'the allowlist beats the blocklist: remove this entry, or narrow it')
    return
  }
  const message = `the blocklist covers every IPv${family} address: only sources in the allowlist get through`
  const hint = 'write `policy: { default: drop }` instead: ARP, neighbour discovery and DHCP keep working'
  report.warning('W002', at, message, hint)
}

/** Warns if no interface takes packets for the services. */
export function warnOfIdleServices({ state, provenance }: Desired, report: Report): void {
  const [first] = state.services.keys()
  if (first === undefined || [...state.interfaces.values()].some(({ roles }) => roles.includes('balance'))) return
  const message = 'no interface has the role balance: no packet reaches the services'
  report.warning('W006', provenance.services.get(first)?.at, message, 'add `balance` to `roles` of an interface')
}

/** Warns about entries that apply only on interfaces that do not filter. */
export function warnOfIdleEntries({ state, provenance }: Desired, report: Report): void {
  const filters = (name: string): boolean => state.interfaces.get(name)?.roles.includes('filter') ?? false
  for (const { name, sets } of state.lists.values()) {
    for (const [index, { scope, addresses }] of sets.entries()) {
      if (scope.interfaces === undefined || scope.interfaces.some(filters)) continue
      const ranges = addresses.v4.length > 0 ? addresses.v4 : addresses.v6
      const at = placeOf(provenance, findOrigin(provenance, name, ranges.family, ranges.start, 0, index))
      const names = scope.interfaces.join(', ')
      const message = `list ${name} has entries that apply on ${names} only, where no packet is filtered`
      report.warning('W007', at, message, 'add `filter` to `roles` of the interface')
    }
  }
}

/** The addresses of which lists decide every packet, on every interface. */
function decidedBy({ lists }: State): AddressSet {
  const sets = [...lists.values()].filter(decides).flatMap((list) => list.sets.filter(isAnyPacket))
  return sets.reduce((all, { addresses: { v4, v6 } }) => ({ v4: union(all.v4, v4), v6: union(all.v6, v6) }), EMPTY_SET)
}

const isEmpty = ({ v4, v6 }: AddressSet): boolean => v4.length + v6.length === 0

/** Warns about a limit that counts no packet, because lists decide about all of its sources. */
function warnOfDecided(limit: RateLimit, { state, provenance }: Desired, decided: AddressSet, report: Report): void {
  const sources = sourcesOf(limit, state.lists)
  if (sources === undefined || isEmpty(sources)) return
  if (!isEmpty({ v4: subtract(sources.v4, decided.v4), v6: subtract(sources.v6, decided.v6) })) return
  const message = `lists decide about every packet from the sources of rate limit ${limit.name}, so it counts none`
  const hint = 'an allowlist and a blocklist come before limits: narrow their entries, or remove the limit'
  report.warning('W275', provenance.rateLimits.get(limit.name), message, hint)
}

/** Warns about limits that count no packet, and about those that one sender can use up for everybody. */
export function warnOfRateLimits(desired: Desired, report: Report): void {
  const { state, provenance } = desired
  const filters = (name: string): boolean => state.interfaces.get(name)?.roles.includes('filter') ?? false
  const decided = [...(state.rateLimits?.values() ?? [])].some((one) => one.sources) ? decidedBy(state) : EMPTY_SET
  for (const limit of state.rateLimits?.values() ?? []) {
    const { name, scope, sources, per, action } = limit
    warnOfDecided(limit, desired, decided, report)
    const at = provenance.rateLimits.get(name)
    const names = scope.interfaces ?? [...state.interfaces.keys()]
    if (!names.some(filters)) {
      const message = `rate limit ${name} applies on ${names.join(', ')} only, where no packet is filtered`
      report.warning('W270', at, message, 'add `filter` to `roles` of the interface')
    }
    if (per !== 'all' || action === 'observe' || !decidesAlone(scope) || sources !== undefined) continue
    const message = `rate limit ${name} counts every packet of all sources together: a flood of one drops those of all, SSH included`
    report.warning('W271', at, message, 'write `per: source`, or name a protocol and ports')
  }
}

/** Warns about lists that cover every packet of a family. */
export function warnOfEverything(desired: Desired, report: Report): void {
  for (const list of [...desired.state.lists.values()].filter(decides)) {
    for (const family of [4, 6] as const) warnOfList(desired, list, family, report)
  }
}

/** linux/stat.h S_IROTH */
const READABLE_BY_ALL = 0o004

/** Warns if every user may read a secret. */
export function warnOfSecret({ root, source }: Part, { kept }: Reads, report: Report): void {
  const placed = root.fields?.get('balancer')?.fields?.get('hash_key')
  // The file of a kept content may be gone, or hold another one.
  if (placed === undefined || kept) return
  const mode = statSync(source.path, { throwIfNoEntry: false })?.mode ?? 0
  if ((mode & READABLE_BY_ALL) === 0) return
  const message = `every user can read ${source.path}, which holds the hash key`
  const at = placed.key ?? placed
  report.warning(
    'W228',
    source.locate(at.from, at.to),
    message,
    `chmod 640 ${source.path}, or move the key to an included file`,
  )
}
