// The image of a policy generation: every line of the `policy` map as one block of bytes. This room owns the layout of
// the whole; it reads and writes no map and knows no path. Compiling is pure and deterministic: equal states give equal
// lines. Decoding returns the state in force, whatever the bytes are, or reports damage; it never trusts a number in
// them.

import {
  ABI_VERSION,
  FLOWS_A_LINE,
  LIST_SLOTS,
  type Meta,
  type Roles,
  SETTINGS_FLAG,
  type Table4,
  type Table6,
} from '../../abi/generated.ts'
import { fail } from '../../diagnostics.ts'
import type { ObjectKey, Slots } from '../../model/live.ts'
import { DEFAULT_POLICY, type Policy } from '../../model/policy.ts'
import { limitOfSources } from '../../model/rate-limit.ts'
import type { LeavingBackend, Service } from '../../model/service.ts'
import type { List, Role } from '../../model/state.ts'
import { Classes, type Part, partsOf } from '../classes/classes.ts'
import { decodeInterfaces, encodeInterfaces, interfaceSets, type LiveInterfaces } from '../classes/interfaces.ts'
import { collect, decodeLists, encodeLists } from '../classes/lists.ts'
import { sweep } from '../classes/partition.ts'
import { decodeClasses, encodeClasses, type LiveClasses } from '../classes/rules.ts'
import { compileTable4, decodeTable4, type Sections4, type Shape4 } from '../ipv4/table4.ts'
import { compileTable6, decodeTable6, type Sections6, type Shape6 } from '../ipv6/table6.ts'
import type { Previous } from '../layout/difference.ts'
import {
  assemble,
  type Directory,
  type Image,
  placeSections,
  type SectionName,
  type Sections,
  withRings,
} from '../layout/layout.ts'
import { policyDigest } from '../lines/digest.ts'
import { digestLines, type LineDigest, NO_LINES } from '../lines/line-digest.ts'
import { corrupt, joinLines, LINE_WORDS, viewOf } from '../lines/lines.ts'
import { decodeRates, encodeRates, type LiveRates } from '../rates/rates.ts'
import { balanceLine, balanceSections, decodeRoles, rawServices, saysRoles } from '../services/balance.ts'
import { type DecodedServices, decodeServices } from '../services/decode.ts'
import { keepRings } from '../services/edit-rings.ts'
import type { RingSection } from '../services/rings.ts'
import type { ServiceSections } from '../services/services.ts'
import { policyOf, type SettingLines, settingLines, settingsFields } from './settings.ts'
import { compileBalance, type ImageMeta, type Source } from './source.ts'
import { decodeSyn, type LiveSyn, synStart } from './syn.ts'

/** Part numbers are 16 bits wide. */
export const MAX_PARTS = 0x10000

/** The parts of all lists. Throws XdpError E203 if there are more than part numbers. */
function numberedParts(lists: ReadonlyMap<string, List>): Part[] {
  const hint = 'merge lists that always act alike'
  if (lists.size > LIST_SLOTS) throw fail('E203', `there are ${lists.size} lists, but at most ${LIST_SLOTS} fit`, hint)
  const parts = partsOf(lists)
  if (parts.length <= MAX_PARTS) return parts
  throw fail('E203', `the lists have ${parts.length} scopes in all, but at most ${MAX_PARTS} fit`, hint)
}

/** The content of an image, without its placement. */
export interface Content {
  readonly policy: Policy
  readonly shape4: Shape4
  readonly shape6: Shape6
  readonly counts: Pick<Meta, 'list_count' | 'class_count' | 'rule_count'>
  readonly lists: Uint32Array
  readonly classes: Uint32Array
  readonly rules: Uint32Array
  /** Interfaces that scopes name. */
  readonly interfaces: Uint32Array
  readonly table4: Sections4
  readonly table6: Sections6
  /** undefined: no services. */
  readonly services: ServiceSections | undefined
  readonly roles: Roles
  /** Lines of rate limits. */
  readonly rates: Uint32Array
  /** net.core.rmem_max of the host, for the protection of ports. */
  readonly receiveMax: number | undefined
}

/** The sections of the content that exist already. */
const namedSections = ({
  lists,
  classes,
  rules,
  interfaces,
  table4,
  table6,
  services,
  policy,
  rates,
  receiveMax,
}: Content): Omit<Sections, 'RINGS'> => ({
  LISTS: lists,
  CLASSES: classes,
  RULES: rules,
  INTERFACES: interfaces,
  SETTINGS: joinLines(settingLines(policy, receiveMax), rates),
  HOST_FILTER4: table4.hostFilter,
  HOSTS4: table4.hosts,
  RANGE_FILTER4: table4.rangeFilter,
  ROOT4: table4.root,
  RANGES4: table4.ranges,
  FILTER6: table6.filter,
  BLOCKS6: table6.blocks,
  ROOT6: table6.root,
  RANGES6: table6.ranges,
  TREES6: table6.trees,
  ...balanceSections(services),
})

/** Positions of the IPv4 table's sections for the settings. */
const places4 = (at: Directory): Pick<Table4, 'host_filter' | 'hosts' | 'range_filter' | 'root' | 'ranges'> => ({
  host_filter: at.HOST_FILTER4.first,
  hosts: at.HOSTS4.first,
  range_filter: at.RANGE_FILTER4.first,
  root: at.ROOT4.first,
  ranges: at.RANGES4.first,
})

const places6 = (at: Directory): Pick<Table6, 'filter' | 'blocks' | 'root' | 'ranges' | 'trees'> => ({
  filter: at.FILTER6.first,
  blocks: at.BLOCKS6.first,
  root: at.ROOT6.first,
  ranges: at.RANGES6.first,
  trees: at.TREES6.first,
})

const NO_RINGS = new Uint32Array(0)

/**
 * Builds all rings on demand. A separate function, because an image holds this closure for its lifetime, and with it
 * every variable of the enclosing scope, such as the previous image.
 */
const ringsOf = (section: RingSection | undefined) => (): Uint32Array => section?.words(0, section.lines) ?? NO_RINGS

/**
 * Lays out the content.
 *
 * @param previous known facts of the previous image, whose rings this one may share
 * @param digestOf digest of a section, if there is a faster way than through its lines
 */
export function layOut(
  content: Content,
  meta: ImageMeta,
  previous?: Previous,
  digestOf: (name: SectionName, words: Uint32Array) => LineDigest = (_, words) => digestLines(words),
): Image {
  const { policy, shape4, shape6, counts, services, roles } = content
  const section = services?.rings
  const kept = previous && services && keepRings(previous, services)
  const sections = withRings(namedSections(content), ringsOf(section))
  const { directory, lines } = placeSections(
    (name) => (name === 'RINGS' ? (section?.lines ?? 0) : sections[name].length / LINE_WORDS),
    (name) => (name === 'RINGS' ? (kept?.digest ?? section?.digest() ?? NO_LINES) : digestOf(name, sections[name])),
  )
  const fields = settingsFields(policy)
  const settings = {
    ...fields,
    abi_version: ABI_VERSION,
    flags: fields.flags | (services ? SETTINGS_FLAG.SERVICES : 0) | (saysRoles(roles) ? SETTINGS_FLAG.ROLES : 0),
    classes: directory.CLASSES.first,
    rules: directory.RULES.first,
    interfaces: directory.INTERFACES.first,
    table4: { ...shape4, ...places4(directory) },
  }
  const recorded = {
    generation: BigInt(meta.generation),
    committed_at: 0n,
    netns: meta.netns,
    object_digest: meta.objectDigest,
    policy_digest: policyDigest(policy),
    lists: directory.LISTS.first,
    ...counts,
  }
  const syn = synStart(sections.SETTINGS)
  const table6 = { ...shape6, ...places6(directory), syn: syn === undefined ? 0 : directory.SETTINGS.first + syn }
  const balance = balanceLine(services, directory, policy)
  const said = { settings, table6, meta: recorded, directory, balance, roles }
  return assemble(said, sections, lines, section && { section, kept })
}

/**
 * Compiles the lists, services and policy (`pass` if undefined) of a canonical state. `committed_at` is 0.
 *
 * @throws XdpError E202, E203, E204, E208 or E216 if the tables cannot hold the state
 */
export function compileImage(source: Source): Image {
  const {
    state: { lists, policy = DEFAULT_POLICY, localPorts, receiveMax },
    slots,
    meta,
  } = source
  const parts = numberedParts(lists)
  const classes = new Classes(parts)
  const ranges4 = parts.map(({ set }) => set.addresses.v4)
  const ranges6 = parts.map(({ set }) => set.addresses.v6)
  const table4 = compileTable4(sweep(4, ranges4, classes))
  const table6 = compileTable6(sweep(6, ranges6, classes))
  const sets = interfaceSets(source.state)
  const encoded = encodeClasses(classes.members, new Map(parts.entries()), slots, sets)
  const content: Content = {
    policy,
    shape4: table4.shape,
    shape6: table6.shape,
    counts: { list_count: lists.size, class_count: classes.members.length, rule_count: encoded.ruleCount },
    lists: encodeLists(lists, slots.lists),
    classes: encoded.classes,
    rules: encoded.rules,
    interfaces: encodeInterfaces(sets, slots.interfaces, localPorts, policy.anomalies),
    rates: encodeRates(source.state.rateLimits ?? new Map(), slots.rates ?? new Map(), sets),
    receiveMax,
    table4: table4.sections,
    table6: table6.sections,
    ...compileBalance(source),
  }
  return layOut(content, meta, source.previous)
}

/** Content of an image, decoded. */
export interface DecodedImage {
  readonly policy: Policy
  /** Canonical, like those of a desired state. */
  readonly lists: ReadonlyMap<string, List>
  readonly services: ReadonlyMap<string, Service>
  readonly rateLimits: LiveRates['limits']
  readonly slots: Omit<Slots, 'interfaces'>
  /** By interface slot. */
  readonly roles: readonly (readonly Role[])[]
  /** Slots of the interfaces that scopes name; undefined = missing from the host. */
  readonly scopedInterfaces: LiveInterfaces['slots']
  readonly localPorts: LiveInterfaces['localPorts']
  readonly receiveMax: LiveSyn['receiveMax']
  readonly leaving: readonly LeavingBackend[]
  readonly deadlines: ReadonlyMap<string, number>
  readonly meta: Meta
  /**
   * Objects that differ from the record of the apply that wrote the image. A service that does not work as recorded is
   * not in `services`.
   */
  readonly drifted: readonly ObjectKey[]
  /** Of drifted lists: the digests of their recorded content. */
  readonly recordedLists: ReadonlyMap<string, bigint>
}

export const NO_SERVICES: DecodedServices = {
  services: new Map(),
  slots: { services: new Map(), backends: new Map(), pools: new Map() },
  leaving: [],
  deadlines: new Map(),
  drifted: [],
}

export const hasServices = ({ settings }: Pick<Image, 'settings'>): boolean =>
  (settings.flags & SETTINGS_FLAG.SERVICES) !== 0

/** Whether the policy matches its recorded digest, and the balancer uses it. */
export function isPolicyWhole(said: Pick<Image, 'settings' | 'balance' | 'meta'> & SettingLines): boolean {
  const policy = policyOf(said)
  const flowsAgree = !hasServices(said) || (said.balance.flow_mask + 1) * FLOWS_A_LINE === policy.flows
  return flowsAgree && policyDigest(policy) === said.meta.policy_digest
}

/** Throws XdpError E113 if a list has the sources of another limit than its own. */
function checkSources(parts: LiveClasses['parts'], lists: LiveSlots, { limits, slots }: LiveRates): void {
  const names = new Map([...lists].map(([name, slot]) => [slot, name]))
  for (const part of parts) {
    if (part?.kind !== 'sources') continue
    const name = limitOfSources(names.get(part.slot) ?? '')
    if (slots.get(name) !== part.limit || limits.get(name)?.sources !== 'list')
      throw corrupt(`the sources of rate limit ${name}`)
  }
}

type LiveSlots = ReadonlyMap<string, number>

/** Reads the sections of an image at the positions in the header. */
function sectionsOf({ directory, sections }: Image): (name: SectionName, first?: number) => Uint32Array {
  return (name, first) => {
    if (directory[name].first === (first ?? directory[name].first)) return sections[name]
    throw corrupt(`section ${name.toLowerCase()} is not where the header says`)
  }
}

/**
 * Decodes an image: lists and services in the form in which they apply to packets.
 *
 * @throws XdpError E113 if it is damaged beyond any valid policy
 */
export function decodeImage(image: Image): DecodedImage {
  const { settings, table6, meta } = image
  const { table4 } = settings
  if (settings.abi_version !== ABI_VERSION) throw corrupt(`ABI version ${settings.abi_version}, not ${ABI_VERSION}`)
  const section = sectionsOf(image)
  const interfaces = decodeInterfaces(section('INTERFACES', settings.interfaces))
  const classes = decodeClasses(
    section('CLASSES', settings.classes),
    section('RULES', settings.rules),
    meta.class_count,
    meta.rule_count,
    interfaces.sets,
  )
  const partition4 = decodeTable4(table4, {
    hostFilter: section('HOST_FILTER4', table4.host_filter),
    hosts: section('HOSTS4', table4.hosts),
    rangeFilter: section('RANGE_FILTER4', table4.range_filter),
    root: section('ROOT4', table4.root),
    ranges: section('RANGES4', table4.ranges),
  })
  const partition6 = decodeTable6(table6, {
    filter: section('FILTER6', table6.filter),
    blocks: section('BLOCKS6', table6.blocks),
    root: section('ROOT6', table6.root),
    ranges: section('RANGES6', table6.ranges),
    trees: section('TREES6', table6.trees),
  })
  const policy = policyOf(image)
  const records = viewOf(section('LISTS', meta.lists))
  const addresses = collect(partition4, partition6, classes)
  const decoded = decodeLists(records, meta.list_count, classes, addresses)
  const rates = decodeRates(section('SETTINGS'), interfaces.sets)
  checkSources(classes.parts, decoded.slots, rates)
  const balanced = hasServices(image) ? decodeServices(image.balance, rawServices(section, image.balance)) : NO_SERVICES
  return {
    policy,
    lists: decoded.lists,
    services: balanced.services,
    rateLimits: rates.limits,
    slots: { lists: decoded.slots, ...balanced.slots, rates: rates.slots },
    roles: decodeRoles(image.roles),
    scopedInterfaces: interfaces.slots,
    localPorts: interfaces.localPorts,
    receiveMax: decodeSyn(section('SETTINGS')).receiveMax,
    leaving: balanced.leaving,
    deadlines: balanced.deadlines,
    meta,
    drifted: [
      ...(isPolicyWhole(image) ? [] : ['policy' as const]),
      ...[...decoded.drifted.keys()].map((name) => `list:${name}` as const),
      ...balanced.drifted.map((name) => `service:${name}` as const),
      ...rates.drifted.map((name) => `rate_limit:${name}` as const),
    ],
    recordedLists: decoded.drifted,
  }
}
