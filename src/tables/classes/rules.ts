// Class and rule sections (struct class, struct rule): encodes the meaning of classes for the data plane, and decodes
// it.

import {
  CLASS_FLAG,
  CLASS_LIST,
  CLASS_RULES,
  type Class,
  classCodec,
  INTERFACE_SETS,
  LINE_SIZE,
  RULE_FLAG,
  RULE_MARK,
  type Rule,
  ruleCodec,
} from '../../abi/generated.ts'
import type { PortRange } from '../../model/ports.ts'
import { type ListKind, type Scope, scopeKey } from '../../model/state.ts'
import { corrupt, joinLines, LINE_WORDS, makeLines, viewOf } from '../lines/lines.ts'
import type { LivePart, Part } from './classes.ts'
import type { InterfaceSets } from './interfaces.ts'
import {
  hasMatch,
  type MatchLines,
  MatchSection,
  matchesOf,
  matchNumber,
  matchOf,
  matchText,
  readMatch,
} from './matches.ts'
import { addSources, type ClassSlots, decodeSources, encodeSources, sourcePlaces, sourceRecord } from './sources.ts'

const ANY_PORT: PortRange = { first: 0, last: 0xffff }
const NO_PORTS: PortRange = { first: 0, last: 0 }
/** ICMP and ICMPv6. */
const ICMP = { protocol4: 1, protocol6: 58 }

/** A rule, with its line if its mark says that it has one; where that lies, the section of the rule decides. */
export interface WrittenRule {
  readonly rule: Rule
  readonly match: MatchLines | undefined
}

/** `interfaces`: number of the scope's set of interfaces. */
export function rulesOf(kind: ListKind, scope: Scope, number: number, slot: number, interfaces: number): WrittenRule[] {
  const protocols =
    scope.protocol === 'any'
      ? { protocol4: 0, protocol6: 0 }
      : scope.protocol === 'icmp'
        ? ICMP
        : { protocol4: scope.protocol, protocol6: scope.protocol }
  const hasPorts = scope.sourcePorts.length > 0 || scope.destinationPorts.length > 0
  const flags =
    (kind === 'allowlist' ? RULE_FLAG.ALLOW : 0) |
    (scope.protocol === 'any' ? 0 : RULE_FLAG.PROTOCOL) |
    (hasPorts && !scope.match ? RULE_FLAG.PORTS : 0) |
    (scope.sourcePorts.length > 0 ? RULE_FLAG.SOURCE : 0) |
    (scope.destinationPorts.length > 0 ? RULE_FLAG.DESTINATION : 0) |
    (scope.interfaces ? RULE_FLAG.INTERFACES : 0) |
    (scope.established === 'pass' ? RULE_FLAG.ESTABLISHED_PASS : 0) |
    (scope.established === 'judge' ? RULE_FLAG.ESTABLISHED_JUDGE : 0) |
    (scope.socket === 'none' ? RULE_FLAG.SOCKET_NONE : 0)
  const marks = (scope.match ? RULE_MARK.MATCH : 0) | (scope.action === 'observe' ? RULE_MARK.OBSERVE : 0)
  const base = { list: slot, scope: number, flags, ...protocols, interfaces: interfaces | marks }
  const rule = (source: PortRange, destination: PortRange): Rule => ({
    ...base,
    source_first: source.first,
    source_last: source.last,
    destination_first: destination.first,
    destination_last: destination.last,
  })
  if (scope.match) return matchesOf(scope).map((match) => ({ rule: rule(NO_PORTS, NO_PORTS), match }))
  const ranges = (ports: readonly PortRange[]): readonly PortRange[] => (ports.length > 0 ? ports : [ANY_PORT])
  return ranges(scope.sourcePorts).flatMap((source) =>
    ranges(scope.destinationPorts).map((destination) => ({ rule: rule(source, destination), match: undefined })),
  )
}

/** The rule with the number of its line. */
export const placed = ({ rule, match }: WrittenRule, lines: MatchSection): Rule =>
  match ? { ...rule, ...matchNumber(lines.add(match)) } : rule

/** Flags of rules that need more of a packet than its source, or ask for a socket whatever the settings say. */
const SCOPED = RULE_FLAG.PROTOCOL | RULE_FLAG.PORTS | RULE_FLAG.INTERFACES | RULE_FLAG.SOCKET_NONE

const MARKED = RULE_MARK.MATCH | RULE_MARK.OBSERVE

/** The class's field `plain`: its list if it has one rule, which matches every packet. `isSource`: of a rate limit. */
function plainOf(rules: readonly Rule[], isSource: boolean): number {
  const [rule, second] = rules
  const flag = isSource ? CLASS_FLAG.SOURCES : 0
  if (!rule || second || rule.flags & SCOPED || rule.interfaces & MARKED)
    return flag | (rules.some(hasMatch) ? CLASS_FLAG.MATCHES : 0)
  return flag | CLASS_FLAG.PLAIN | (rule.flags & RULE_FLAG.ALLOW ? CLASS_FLAG.ALLOW : 0) | rule.list
}

/** The rule by which the data plane judges a plain class: for every packet, whatever its rule says. */
const plainRule = (rule: Rule, plain: number): Rule => ({
  ...rule,
  list: plain & CLASS_LIST,
  flags: plain & CLASS_FLAG.ALLOW ? RULE_FLAG.ALLOW : 0,
})

const RANKS: Readonly<Record<ListKind, number>> = { allowlist: 0, blocklist: 1, sources: 2 }

/** Sorts allowlists first, then by name and scope: the order in which the data plane tries the rules of a class. */
const rank = ({ list: { kind, name }, set: { scope } }: Part): string => `${RANKS[kind]}${name}\0${scopeKey(scope)}`

/**
 * Encodes the sections of classes and rules. A class's allowlist rules come first, and the rules of one list are
 * adjacent.
 *
 * @param members part numbers by class
 * @param parts by number, in any order
 * @param slots of counters, by name
 * @param sets numbers of the sets of interfaces of all scopes
 */
export function encodeClasses(
  members: readonly (readonly number[])[],
  parts: ReadonlyMap<number, Part>,
  slots: ClassSlots,
  sets: InterfaceSets,
): { classes: Uint32Array; rules: Uint32Array; ruleCount: number } {
  const byPart = new Map(
    [...parts].map(([number, part]) => {
      const { list, set } = part
      const { interfaces } = set.scope
      const source = sourceRecord(number, part, slots)
      const slot = slots.lists.get(list.name) as number
      const rules = rulesOf(list.kind, set.scope, number, slot, interfaces ? sets.numberOf(interfaces) : 0)
      return [number, { source, rules: source ? [] : rules }] as const
    }),
  )
  const sorted = [...parts].map(([number, part]) => ({ number, key: rank(part) }))
  sorted.sort((a, b) => (a.key < b.key ? -1 : 1))
  const position = new Map(sorted.map(({ number }, at) => [number, at]))
  const byPosition = (a: number, b: number): number => (position.get(a) as number) - (position.get(b) as number)
  const ordered = members.map((numbers) => numbers.toSorted(byPosition))
  const written = ordered.map((numbers) => numbers.flatMap((part) => byPart.get(part)?.rules ?? []))
  const sources = ordered.map((numbers) => numbers.flatMap((part) => byPart.get(part)?.source ?? []))
  const ruleCount = written.reduce((sum, { length }, i) => sum + length + sourcePlaces(sources[i] ?? []), 0)
  const classes = makeLines(Math.ceil((members.length * classCodec.size) / LINE_SIZE))
  const rules = makeLines(Math.ceil((ruleCount * ruleCodec.size) / LINE_SIZE))
  const lines = new MatchSection(rules.length / LINE_WORDS)
  const byClass = written.map((own) => own.map((rule) => placed(rule, lines)))
  const classView = new DataView(classes.buffer)
  const ruleView = new DataView(rules.buffer)
  let next = 0
  for (const [number, own] of byClass.entries()) {
    const records = sources[number] ?? []
    const entry: Class = { first_rule: next, rules: own.length, plain: plainOf(own, records.length > 0) }
    classCodec.encode(entry, classView, number * classCodec.size)
    for (const rule of own) ruleCodec.encode(rule, ruleView, next++ * ruleCodec.size)
    encodeSources(records, ruleView, next)
    next += sourcePlaces(records)
  }
  return { classes, rules: joinLines(rules, lines.words), ruleCount }
}

export interface LiveClasses {
  /** By part number; a number that no class uses is undefined. */
  readonly parts: readonly (LivePart | undefined)[]
  /** Part numbers by class. */
  readonly members: readonly (readonly number[])[]
  /** Parts whose rule is not the one by which a plain class is judged. */
  readonly disputed: ReadonlySet<number>
  /** Whether every plain class says so. In images of versions before that field, none does. */
  readonly isMarked: boolean
}

const rulesAt = (view: DataView, { first_rule, rules }: Class): Rule[] =>
  Array.from({ length: rules }, (_, i) => ruleCodec.decode(view, (first_rule + i) * ruleCodec.size))

/** The rules by which a class is judged. Throws XdpError E113 if it is plain and has not one rule. */
function rulesInForce(written: readonly Rule[], plain: number, number: number): readonly Rule[] {
  const flags = plain & ~CLASS_FLAG.SOURCES
  if (flags === 0 || flags === CLASS_FLAG.MATCHES) return written
  if (written.length !== 1) throw corrupt(`the rules of class ${number}`)
  return written.map((rule) => plainRule(rule, plain))
}

function byScope(rules: readonly Rule[]): Map<number, Rule[]> {
  const found = new Map<number, Rule[]>()
  for (const rule of rules) {
    const same = found.get(rule.scope)
    if (same) same.push(rule)
    else found.set(rule.scope, [rule])
  }
  return found
}

/**
 * Decodes the sections.
 *
 * @param sets the sets of interfaces by number
 * @throws XdpError E113 if a class refers to rules that do not exist
 */
export function decodeClasses(
  classWords: Uint32Array,
  ruleWords: Uint32Array,
  classCount: number,
  ruleCount: number,
  sets: readonly (readonly string[])[],
): LiveClasses {
  const [classes, rules] = [viewOf(classWords), viewOf(ruleWords)]
  if (classCount * classCodec.size > classes.byteLength || ruleCount * ruleCodec.size > rules.byteLength) {
    throw corrupt('classes or rules are truncated')
  }
  const byPart = new Map<number, Rule[]>()
  const sources = new Map<number, LivePart>()
  const members: number[][] = []
  let left = ruleCount
  let isMarked = true
  const disputed = new Set<number>()
  for (let number = 0; number < classCount; number++) {
    const entry: Class = classCodec.decode(classes, number * classCodec.size)
    const last = entry.first_rule + entry.rules
    // Each rule belongs to one class. Without this limit a damaged image could keep the loop running forever.
    const sourced = decodeSources(entry, number, rules, ruleCount)
    left -= entry.rules + sourcePlaces(sourced)
    if (last > ruleCount || left < 0 || entry.rules > CLASS_RULES) throw corrupt(`the rules of class ${number}`)
    const written = rulesAt(rules, entry)
    const inForce = rulesInForce(written, entry.plain, number)
    if (!isSame(inForce, written)) for (const { scope } of inForce) disputed.add(scope)
    isMarked &&= entry.plain === plainOf(written, sourced.length > 0)
    const own = byScope(inForce)
    for (const [part, found] of own) {
      const known = byPart.get(part)
      if (known && !isSame(known, found)) throw corrupt(`the rules of scope ${part} differ from class to class`)
      byPart.set(part, found)
    }
    addSources(sources, sourced)
    members.push([...own.keys(), ...sourced.map((part) => part.number)])
  }
  const ruled = [...byPart].map(([number, found]) => checkedPart(number, withMatches(found, rules), sets))
  return { parts: byNumber([...ruled, ...sources.values()]), members, disputed, isMarked }
}

function byNumber(all: readonly LivePart[]): LiveClasses['parts'] {
  const parts: (LivePart | undefined)[] = []
  for (const part of all) {
    if (parts[part.number]) throw corrupt(`scope ${part.number}, which has rules and sources`)
    parts[part.number] = part
  }
  return parts
}

/** Rules of a section with their lines. Throws XdpError E113 if it lacks one. */
export const withMatches = (rules: readonly Rule[], section: DataView): WrittenRule[] =>
  rules.map((rule) =>
    hasMatch(rule)
      ? { rule: { ...rule, source_first: 0, source_last: 0 }, match: readMatch(section, rule) }
      : { rule, match: undefined },
  )

const isSameWritten = (a: readonly WrittenRule[], b: readonly WrittenRule[]): boolean =>
  isSame(
    a.map(({ rule }) => rule),
    b.map(({ rule }) => rule),
  ) && a.every(({ match }, i) => textOf(match) === textOf(b[i]?.match))

const textOf = (match: MatchLines | undefined): string | undefined => match && matchText(match)

/** The part of the rules, which must be those that it is encoded to. */
function checkedPart(number: number, found: readonly WrittenRule[], sets: readonly (readonly string[])[]): LivePart {
  const part = livePart(number, found, sets)
  const [{ rule }] = found as [WrittenRule]
  if (!isSameWritten(rulesOf(part.kind, part.scope, number, part.slot, setNumber(rule)), found))
    throw corrupt(`the rules of scope ${number}`)
  return part
}

/** Number of a rule's set of interfaces. */
const setNumber = ({ interfaces }: Rule): number => interfaces % INTERFACE_SETS

const RULE_FIELDS = Object.keys(ruleCodec.offsets) as readonly (keyof Rule)[]

const isSame = (a: readonly Rule[], b: readonly Rule[]): boolean =>
  a.length === b.length && a.every((rule, i) => RULE_FIELDS.every((field) => rule[field] === b[i]?.[field]))

/** The keys of scopes about sockets, by the two flags of a rule. */
const SOCKETS: ReadonlyMap<number, Pick<Scope, 'established' | 'socket'>> = new Map([
  [RULE_FLAG.ESTABLISHED_PASS, { established: 'pass' }],
  [RULE_FLAG.ESTABLISHED_JUDGE, { established: 'judge' }],
  [RULE_FLAG.SOCKET_NONE, { socket: 'none' }],
])

export function livePart(
  number: number,
  rules: readonly WrittenRule[],
  sets: readonly (readonly string[])[],
): LivePart {
  const [{ rule }] = rules as [WrittenRule]
  const { list, flags, protocol4, protocol6 } = rule
  const interfaces = flags & RULE_FLAG.INTERFACES ? (sets[setNumber(rule)] ?? []) : undefined
  const lines = rules.flatMap(({ match }) => match ?? [])
  const ranges = lines.length > 0 ? lines.map(({ line }) => line) : rules.map((one) => one.rule)
  if (interfaces?.length === 0) throw corrupt(`the interfaces of scope ${number}`)
  const isIcmp = protocol4 === ICMP.protocol4 && protocol6 === ICMP.protocol6
  return {
    number,
    slot: list,
    kind: flags & RULE_FLAG.ALLOW ? 'allowlist' : 'blocklist',
    scope: {
      protocol: flags & RULE_FLAG.PROTOCOL ? (isIcmp ? 'icmp' : protocol4) : 'any',
      sourcePorts: flags & RULE_FLAG.SOURCE ? ports(ranges, 'source') : [],
      destinationPorts: flags & RULE_FLAG.DESTINATION ? ports(ranges, 'destination') : [],
      ...(interfaces && { interfaces }),
      ...SOCKETS.get(flags & RULE_FLAG.SOCKET_NONE),
      ...(lines.length > 0 && { match: matchOf(lines) }),
      ...(rule.interfaces & RULE_MARK.OBSERVE && { action: 'observe' as const }),
    },
  }
}

type Ports = Pick<Rule, 'source_first' | 'source_last' | 'destination_first' | 'destination_last'>

/** The distinct port ranges of a part's rules, or of their lines. */
function ports(written: readonly Ports[], side: 'source' | 'destination'): PortRange[] {
  const ranges = written.map((rule) => ({ first: rule[`${side}_first`], last: rule[`${side}_last`] }))
  return ranges
    .filter(({ first, last }, i) => ranges.findIndex((other) => other.first === first && other.last === last) === i)
    .sort((a, b) => a.first - b.first)
}
