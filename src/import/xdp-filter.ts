// The output of `xdp-filter status`: tables for people. In the mode "allow" xdp-filter drops the listed addresses, in
// "deny" all others. Format: xdp-filter(8), "The STATUS command".

import type { Diagnostic } from '../diagnostics.ts'
import { TCP, UDP } from '../model/ports.ts'
import { ANY, canonicalPorts } from '../model/scope.ts'
import type { AttachMode, Scope } from '../model/state.ts'
import { EVERY, RangeCollector } from './addresses.ts'
import { notFrom } from './ipset.ts'
import { parsePorts } from './scopes.ts'
import {
  bufferOf,
  type Imported,
  type ImportedInterface,
  type ImportedList,
  type Input,
  leftOut,
  linePlace,
  lookUp,
  type Place,
  widened,
} from './source.ts'

const MODES: Readonly<Record<string, AttachMode>> = { skb: 'generic', native: 'native', hw: 'offload' }

/** A port that is filtered for any address. */
interface PortEntry {
  readonly scope: Scope
  readonly place: Place
}

type Section = 'none' | 'interfaces' | 'ports' | 'addresses' | 'macs'

const SECTIONS: readonly (readonly [start: string, section: Section])[] = [
  ['Loaded on interfaces:', 'interfaces'],
  ['Filtered ports:', 'ports'],
  ['Filtered IP addresses:', 'addresses'],
  ['Filtered MAC addresses:', 'macs'],
  ['Aggregate per-action statistics:', 'none'],
]

/** Packets that the mode "deny" lets pass and that a list cannot express. */
interface Unlisted {
  readonly place: Place
  readonly what: string
}

interface Reading {
  readonly interfaces: ImportedInterface[]
  readonly unlisted: Unlisted[]
  /** Protocols that every interface filters: xdp-filter(8), "--features". */
  readonly features: Set<string>
  /** `allow` or `deny`, by interface. */
  readonly policies: { readonly policy: string; readonly place: Place; readonly name: string }[]
  readonly found: RangeCollector
  readonly ports: PortEntry[]
  readonly notes: Diagnostic[]
  first: Place | undefined
}

const encoder = new TextEncoder()

const FEATURES = ['ipv4', 'ipv6', 'tcp', 'udp'] as const

function takeInterface(text: string, place: Place, { interfaces, policies, features: common }: Reading): boolean {
  const [, name = '', mode = '', features = ''] = /^ {2}(\S+) \((\w+) mode\)\s+(\S+)$/.exec(text) ?? []
  const policy = features.split(',').at(-1) ?? ''
  if (policy !== 'allow' && policy !== 'deny') return /^\S+$/.test(text)
  for (const feature of FEATURES) if (!features.split(',').includes(feature)) common.delete(feature)
  interfaces.push({ name, mode: lookUp(MODES, mode) })
  policies.push({ policy, place, name })
  return true
}

function takeAddress(subject: string, flags: readonly string[], place: Place, reading: Reading): boolean {
  if (flags.includes('dst')) {
    const rest = flags.includes('src') ? 'imported as a source only' : 'left out'
    reading.notes.push(leftOut(place, `${subject} is filtered as a destination address: ${rest}`))
    reading.unlisted.push({ place, what: `packets to ${subject}` })
  }
  const bytes = encoder.encode(subject)
  const family = subject.includes(':') ? 'ipv6' : 'ipv4'
  if (!reading.features.has(family)) {
    reading.notes.push(leftOut(place, `left out because an interface does not filter ${family}`))
    return /^[0-9a-f.:]+$/.test(subject)
  }
  if (!flags.includes('src')) return /^[0-9a-f.:]+$/.test(subject)
  reading.first ??= place
  return reading.found.read(bytes, 0, bytes.length)
}

/** Adds a port for each direction and protocol among its flags. */
function takePort(subject: string, flags: readonly string[], place: Place, reading: Reading): boolean {
  const port = parsePorts(subject, '-')
  if (port === undefined) return false
  for (const protocol of ['tcp', 'udp'] as const) {
    if (flags.includes(protocol) && !reading.features.has(protocol)) {
      reading.notes.push(leftOut(place, `left out because an interface does not filter ${protocol}`))
      continue
    }
    for (const side of ['src', 'dst'] as const) {
      if (!flags.includes(protocol) || !flags.includes(side)) continue
      const [sourcePorts, destinationPorts] = side === 'src' ? [[port], []] : [[], [port]]
      reading.ports.push({ place, scope: { protocol: protocol === 'tcp' ? TCP : UDP, sourcePorts, destinationPorts } })
    }
  }
  return true
}

/** The lists of ports: one per protocol and direction. */
function portLists(ports: readonly PortEntry[], kind: ImportedList['kind']): ImportedList[] {
  const groups = new Map<string, PortEntry[]>()
  for (const entry of ports) {
    const { protocol, sourcePorts } = entry.scope
    const key = `${protocol} ${sourcePorts.length > 0}`
    groups.set(key, [...(groups.get(key) ?? []), entry])
  }
  return [...groups.values()].map((entries) => ({
    kind,
    name: undefined,
    scope: {
      protocol: entries[0]?.scope.protocol ?? TCP,
      sourcePorts: canonicalPorts(entries.flatMap(({ scope }) => scope.sourcePorts)),
      destinationPorts: canonicalPorts(entries.flatMap(({ scope }) => scope.destinationPorts)),
    },
    addresses: { v4: EVERY[4], v6: EVERY[6] },
    comment: undefined,
    places: [...new Set(entries.map(({ place }) => place.text))],
  }))
}

/** Reads a line of a section. Returns false if the section has no such line. */
function takeLine(section: Section, text: string, place: Place, reading: Reading): boolean {
  if (section === 'none' || /Hit counter$|Enabled features$/.test(text)) return true
  if (section === 'interfaces') return takeInterface(text, place, reading)
  const [, subject = '', flags = ''] = /^ {2}(\S+)\s+(\S+)\s+\d+$/.exec(text) ?? []
  if (section === 'addresses') return takeAddress(subject, flags.split(','), place, reading)
  if (section === 'ports') return takePort(subject, flags.split(','), place, reading)
  if (subject !== '') {
    reading.notes.push(leftOut(place, `left out because ${subject} is a MAC address`))
    reading.unlisted.push({ place, what: `packets with the MAC address ${subject}` })
  }
  return subject !== ''
}

/** The interfaces with the policy of the first one; the others are left out. */
function agree({ interfaces, policies, notes }: Reading): ImportedInterface[] {
  const [first] = policies
  const others = policies.filter(({ policy }) => policy !== first?.policy)
  for (const { name, policy, place } of others)
    notes.push(
      leftOut(place, `interface ${name} is left out because it has the policy ${policy} and ${first?.name} does not`),
    )
  return interfaces.filter(({ name }) => !others.some((other) => other.name === name))
}

/** The addresses that are dropped, or under the policy "deny" those that pass. Throws E400 for any other text. */
export function importXdpFilter(input: Input): Imported {
  const { name } = input
  const reading: Reading = {
    interfaces: [],
    unlisted: [],
    features: new Set(FEATURES),
    policies: [],
    found: new RangeCollector(),
    ports: [],
    notes: [],
    first: undefined,
  }
  const lines = bufferOf(input).toString('utf8').split('\n')
  let section: Section = 'none'
  const head = lines.findIndex((line) => line.startsWith('CURRENT XDP-FILTER STATUS'))
  if (head < 0) throw notFrom('xdp-filter status', linePlace(name, 1), lines[0] ?? '')
  for (const [index, line] of lines.entries()) {
    const text = line.trimEnd()
    if (index <= head || text === '') continue
    const begun = SECTIONS.find(([start]) => text.startsWith(start))
    const place = linePlace(name, index + 1)
    if (begun !== undefined) section = begun[1]
    else if (!takeLine(section, text, place, reading)) throw notFrom('xdp-filter status', place, text)
  }
  const interfaces = agree(reading)
  const denies = reading.policies[0]?.policy === 'deny'
  const passes = denies ? reading.unlisted[0] : undefined
  const place = reading.first?.text ?? name
  const list: ImportedList = {
    kind: denies ? 'allowlist' : 'blocklist',
    name: undefined,
    scope: ANY,
    addresses: reading.found.finish(),
    comment: undefined,
    places: [place],
  }
  const lists = [...(reading.found.length > 0 ? [list] : []), ...portLists(reading.ports, list.kind)]
  // Without these packets in an allowlist, a default drop would drop them.
  if (passes !== undefined && reading.policies[0] !== undefined) {
    const why = `its default drop is left out because a list cannot express that ${passes.what} pass`
    reading.notes.push(widened(reading.policies[0].place, why))
  }
  return { interfaces, default: denies && !passes ? 'drop' : 'pass', lists, leftOut: reading.notes }
}
