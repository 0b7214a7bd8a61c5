// Sources of rate limits in the sections of classes and rules (struct class_sources): behind the rules of a class, the
// limits among whose sources it is. Lists of sources have no rules.

import { CLASS_FLAG, type Class, classSourcesCodec, RATE_LIMITS, type Rule, ruleCodec } from '../../abi/generated.ts'
import { limitOfSources } from '../../model/rate-limit.ts'
import { ANY } from '../../model/scope.ts'
import { corrupt } from '../lines/lines.ts'
import type { LivePart, Part } from './classes.ts'

/** Counter slots of lists and rate limits. */
export interface ClassSlots {
  readonly lists: ReadonlyMap<string, number>
  readonly rates?: ReadonlyMap<string, number>
}

/** The record of a part with sources: its number, its list, and its limit. */
type Record = Pick<Rule, 'list' | 'scope' | 'source_first'>

const NO_RULE: Omit<Rule, keyof Record> = {
  flags: 0,
  protocol4: 0,
  protocol6: 0,
  interfaces: 0,
  source_last: 0,
  destination_first: 0,
  destination_last: 0,
}

/** The record of a part; undefined: the part has rules. */
export function sourceRecord(number: number, { list: { kind, name } }: Part, slots: ClassSlots): Record | undefined {
  if (kind !== 'sources') return undefined
  const [list, limit] = [slots.lists.get(name), slots.rates?.get(limitOfSources(name))]
  if (list === undefined || limit === undefined) throw new RangeError(`the sources ${name} have no slot`)
  return { list, scope: number, source_first: limit }
}

/** Places of struct rule that the records of a class take. */
export const sourcePlaces = (records: readonly unknown[]): number => (records.length === 0 ? 0 : 1 + records.length)

const bitsOf = (records: readonly Record[]): bigint =>
  records.reduce((bits, { source_first: limit }) => bits | (1n << BigInt(limit)), 0n)

/** Writes them at a place of the section of rules. */
export function encodeSources(records: readonly Record[], section: DataView, place: number): void {
  if (records.length === 0) return
  const head = { limits: bitsOf(records), parts: records.length }
  classSourcesCodec.encode(head, section, place * ruleCodec.size)
  for (const [i, record] of records.entries())
    ruleCodec.encode({ ...NO_RULE, ...record }, section, (place + 1 + i) * ruleCodec.size)
}

/**
 * The parts with sources of a class.
 *
 * @param end of the rules in the section
 * @throws XdpError E113 if they contradict what the data plane reads
 */
export function decodeSources(entry: Class, number: number, section: DataView, end: number): LivePart[] {
  if ((entry.plain & CLASS_FLAG.SOURCES) === 0) return []
  const place = entry.first_rule + entry.rules
  const isThere = place < end
  const { limits, parts } = isThere
    ? classSourcesCodec.decode(section, place * ruleCodec.size)
    : { limits: 0n, parts: end }
  if (place + 1 + parts > end) throw corrupt(`the sources of class ${number}`)
  const records = Array.from({ length: parts }, (_, i) => ruleCodec.decode(section, (place + 1 + i) * ruleCodec.size))
  const isSound = records.every((one) => one.source_first < RATE_LIMITS)
  if (!isSound || bitsOf(records) !== limits) throw corrupt(`the sources of class ${number}`)
  return records.map(({ list, scope, source_first: limit }) => ({
    number: scope,
    slot: list,
    kind: 'sources',
    scope: ANY,
    limit,
  }))
}

/** Adds the parts of a class to those of others. Throws XdpError E113 if one differs from class to class. */
export function addSources(known: Map<number, LivePart>, parts: readonly LivePart[]): void {
  for (const part of parts) {
    const { number, slot, limit } = known.get(part.number) ?? part
    if (slot !== part.slot || limit !== part.limit) throw corrupt(`the sources ${number}`)
    known.set(number, part)
  }
}
