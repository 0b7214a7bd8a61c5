// Warnings about native mode on devices without a card of their own: bonds, which ask their members, and bridges, teams and
// VLAN devices, whose ports or parents may have it in their place.

import type { Diagnostic, Location } from '../diagnostics.ts'
import { bondRefusal, driverOf, memberRefusal, refusalOf } from '../drivers/bond.ts'
import { WITHOUT_NATIVE_KINDS } from '../drivers/driver.ts'
import { shapeOf } from '../model/link.ts'
import type { Link, Live } from '../model/live.ts'
import type { Attachment } from '../model/state.ts'
import { parseVersion } from '../model/version.ts'
import { effectOf, tooLarge } from './warn-driver.ts'
import { some } from './words.ts'

type Around = Pick<Live, 'links' | 'drivers'>

const kernelOf = ({ drivers }: Around) => parseVersion(drivers?.kernel ?? '')
const askedOf = ({ name }: Link, { drivers }: Around): string | undefined => drivers?.names.get(name)

const membersOf = ({ name }: Link, { links }: Around): Link[] =>
  [...links.values()].filter(({ master }) => master === name).sort((left, right) => left.ifindex - right.ifindex)

/** `eth0 (ice)`; of a virtual device its kind. */
const described = (link: Link, around: Around): string =>
  `${link.name} (${askedOf(link, around) ?? (link.kind === 'physical' ? 'driver unknown' : link.kind)})`

/** Why a bond has no native XDP, and the setting that would change it. */
function bondWhy(bond: Link, around: Around): { readonly why: string; readonly fix?: string } | undefined {
  const kernel = kernelOf(around)
  const own = bondRefusal(bond.bond, kernel)
  if (own) return own
  const members = membersOf(bond, around)
  const refused = members.flatMap((member) => {
    const hasProgram = member.programs.length > 0
    const why = memberRefusal({ kind: member.kind, driver: askedOf(member, around), hasProgram }, kernel)
    return why === undefined ? [] : [`${member.name}: ${why}`]
  })
  if (refused.length === 0) return undefined
  const all = some(members.map((member) => described(member, around)))
  return { why: `a bond has native XDP only if all its members accept it (${all}), but ${some(refused)}` }
}

/** Why a device has no native XDP, as far as that is known. */
const whyNot = (link: Link, around: Around): string | undefined =>
  link.kind === 'bond' ? bondWhy(link, around)?.why : refusalOf(link.kind, askedOf(link, around), kernelOf(around))

/** One about a bond: its settings and its members decide. */
function warnBond(bond: Link, modes: Attachment['modes'], around: Around, at: Location | undefined): Diagnostic[] {
  const where = at === undefined ? {} : { at }
  const refusal = bondWhy(bond, around)
  if (refusal) {
    const or = refusal.fix === undefined ? '' : `, or ${refusal.fix}`
    const hint = `write \`mode: generic\` under ${bond.name}${or}`
    const message = `${bond.name}: ${refusal.why}: ${effectOf(modes)}`
    return [{ code: 'W208', severity: 'warning', message, hint, ...where }]
  }
  const kernel = kernelOf(around)
  const [first] = membersOf(bond, around).flatMap((member) => {
    const driver = driverOf(member.kind, askedOf(member, around))
    return tooLarge({ name: bond.name, mtu: member.mtu, of: `member ${member.name}` }, driver, kernel, modes) ?? []
  })
  return first ? [{ ...first, ...where }] : []
}

/** The hint about a VLAN device: its parent has what the device has not. */
function hintOfVlan({ name, below }: Link, around: Around): string {
  const parent = around.links.get(below ?? '')
  const generic = `write \`mode: generic\` under ${name}`
  if (parent === undefined) return `${generic}, or attach to its parent, which parses VLAN tags`
  const why = whyNot(parent, around)
  if (why === undefined) return `${generic}, or name ${described(parent, around)} instead: the filter parses VLAN tags`
  return `${generic}: ${parent.name} below it has no native XDP either (${why})`
}

/** Kinds of ports that lead to containers and virtual machines: a filter there sees only what these send. */
const INNER: ReadonlySet<string> = new Set(['veth', 'tun'])

/** The hint about a bridge or team: those of its ports to the network that have native XDP. */
function hintOfPorts({ name, kind }: Link, ports: readonly Link[], around: Around): string {
  const generic = `write \`mode: generic\` under ${name}`
  const outer = ports.filter(({ kind: of }) => !INNER.has(of))
  const able = outer.filter((port) => whyNot(port, around) === undefined)
  if (able.length > 0)
    return `${generic}, or name its ports instead: ${some(able.map((one) => described(one, around)))}`
  return outer.length > 0 ? `${generic}: no port of the ${kind} to the network has native XDP` : generic
}

function hintOf(link: Link, around: Around): string {
  if (link.kind === 'vlan') return hintOfVlan(link, around)
  if (link.kind === 'bridge' || link.kind === 'team') return hintOfPorts(link, membersOf(link, around), around)
  return `write \`mode: generic\` under ${link.name}`
}

/** A warning that an interface has no native XDP because of its kind, its members or the device below it. */
export function warnStacked(
  link: Link,
  modes: Attachment['modes'],
  around: Around,
  at: Location | undefined,
): Diagnostic[] {
  if (link.kind === 'bond') return warnBond(link, modes, around, at)
  if (!WITHOUT_NATIVE_KINDS.has(link.kind) && shapeOf(link) !== 'ip') return []
  const ports = link.kind === 'bridge' || link.kind === 'team' ? membersOf(link, around) : []
  const having = ports.length === 0 ? '' : `; its ports are ${some(ports.map((port) => described(port, around)))}`
  const message = `${link.name} is a ${link.kind} device, which has no native XDP${having}: ${effectOf(modes)}`
  return [
    { code: 'W208', severity: 'warning', message, hint: hintOf(link, around), ...(at === undefined ? {} : { at }) },
  ]
}
