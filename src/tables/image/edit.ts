// Derives an image from the previous one: rewrites the lines that a change of lists touches, and shares the rest. The
// content equals a compilation of the new state; the placement depends on the previous image, so two images of one
// state may differ.

import type { AddressSet, Family, Ranges } from '../../model/address.ts'
import { parseAnomaly } from '../../model/anomaly.ts'
import { DEFAULT_POLICY } from '../../model/policy.ts'
import { NumberSets } from '../classes/classes.ts'
import { ClassSets, numberParts } from '../classes/edit.ts'
import { decodeInterfaces, encodeInterfaces, interfaceSets } from '../classes/interfaces.ts'
import { encodeLists, readRecords } from '../classes/lists.ts'
import { type Partition, sweep } from '../classes/partition.ts'
import { decodeClasses } from '../classes/rules.ts'
import { type Change4, editTable4 } from '../ipv4/edit.ts'
import { packTable4, unpackTable4 } from '../ipv4/table4.ts'
import { type Change6, editTable6 } from '../ipv6/edit.ts'
import { packTable6, unpackTable6 } from '../ipv6/table6.ts'
import { nextDigest } from '../layout/difference.ts'
import type { Image } from '../layout/layout.ts'
import { decodeRates, encodeRates } from '../rates/rates.ts'
import { type Content, layOut } from './image.ts'
import { policyOf } from './settings.ts'
import { compileBalance, type Source } from './source.ts'

/** The content of an image without services: the reverse of layOut. */
const contentOf = ({
  settings,
  table6,
  meta,
  sections,
  roles,
}: Image): Omit<Content, 'services' | 'rates' | 'receiveMax'> => ({
  roles,
  policy: policyOf({ settings, sections }),
  shape4: settings.table4,
  shape6: table6,
  counts: meta,
  lists: sections.LISTS,
  classes: sections.CLASSES,
  rules: sections.RULES,
  interfaces: sections.INTERFACES,
  table4: {
    hostFilter: sections.HOST_FILTER4,
    hosts: sections.HOSTS4,
    rangeFilter: sections.RANGE_FILTER4,
    root: sections.ROOT4,
    ranges: sections.RANGES4,
  },
  table6: {
    filter: sections.FILTER6,
    blocks: sections.BLOCKS6,
    root: sections.ROOT6,
    ranges: sections.RANGES6,
    trees: sections.TREES6,
  },
})

/** Addresses that enter or leave a list under one scope. */
export interface Toggle {
  readonly list: string
  /** scopeKey */
  readonly scope: string
  readonly addresses: AddressSet
}

/** Input of an edit: the source of compilation, and the difference. */
export interface EditSource extends Source {
  readonly previous: Image
  /** The complete difference between the state in `previous` and the new one. */
  readonly toggles: readonly Toggle[]
  /** Edit even if compiling would be faster. */
  readonly always?: boolean
}

/** Images with fewer lines are compiled, and read when needed: both are fast enough and leave no gaps. */
export const LARGE_IMAGE = 4096
/** An edit of more than one range per this many lines takes longer than compiling. */
const LINES_A_RANGE = 16

function isQuickerAnew({ previous, toggles }: EditSource): boolean {
  const ranges = toggles.reduce((sum, { addresses: { v4, v6 } }) => sum + v4.length + v6.length, 0)
  return previous.lines < LARGE_IMAGE || ranges * LINES_A_RANGE > previous.lines
}

const rangesOf = (toggles: readonly Toggle[], family: Family): Ranges[] =>
  toggles.map(({ addresses: { v4, v6 } }) => (family === 4 ? v4 : v6))

/** Calls `visit` with the stretches of a partition whose value is not 0: indexes of their first and last start. */
function forEachChanged({ length, values }: Partition, visit: (index: number, value: number) => void): void {
  for (let i = 0; i < length; i++) if (values[i] !== 0) visit(i, values[i] as number)
}

type ChangeOf = (value: number) => (value: number) => number

function changes4(partition: Partition, changeOf: ChangeOf): Change4[] {
  const { length, starts } = partition
  const changes: Change4[] = []
  forEachChanged(partition, (i, value) => {
    const last = i + 1 < length ? (starts[i + 1] as number) - 1 : 0xffffffff
    changes.push({ first: starts[i] as number, last, change: changeOf(value) })
  })
  return changes
}

const END6 = 1n << 128n

function changes6(partition: Partition, changeOf: ChangeOf): Change6[] {
  const { length, starts } = partition
  const start = (i: number): bigint =>
    i === length ? END6 : starts.subarray(i * 4, i * 4 + 4).reduce((sum, word) => (sum << 32n) | BigInt(word), 0n)
  const changes: Change6[] = []
  forEachChanged(partition, (i, value) => {
    changes.push({ first: start(i), last: start(i + 1) - 1n, change: changeOf(value) })
  })
  return changes
}

/**
 * Edits the previous image into the image of the state. undefined if compiling is faster or gives a better image, and
 * if the tables cannot hold the state; compiling then reports that.
 *
 * @throws XdpError E113 if the previous image is invalid
 */
export function editImage(source: EditSource): Image | undefined {
  if (!source.always && isQuickerAnew(source)) return undefined
  const { previous, state, slots, meta, toggles } = source
  const { policy = DEFAULT_POLICY, lists } = state
  const { sections, meta: said } = previous
  const { sets, anomalies } = decodeInterfaces(sections.INTERFACES)
  const named = interfaceSets(state)
  // Rules name sets of interfaces by numbers, which move with the sets of rate limits and anomalies.
  const { limits } = decodeRates(sections.SETTINGS, sets)
  if ([...limits.values(), ...(state.rateLimits?.values() ?? [])].some(({ scope }) => scope.interfaces))
    return undefined
  if ([...anomalies, ...policy.anomalies].some((text) => parseAnomaly(text).interfaces)) return undefined
  const live = decodeClasses(sections.CLASSES, sections.RULES, said.class_count, said.rule_count, sets)
  const numbers = numberParts(live, readRecords(sections.LISTS, said.list_count), lists)
  if (!numbers) return undefined
  const classes = new ClassSets(live, numbers)
  const partOf = toggles.map(({ list, scope }) => numbers.numberOf(list, scope) as number)
  const changed = (family: Family): [Partition, ChangeOf] => {
    const sets = new NumberSets()
    const partition = sweep(family, rangesOf(toggles, family), sets)
    const changes = sets.members.map((members) => classes.change(members.map((toggle) => partOf[toggle] as number)))
    return [partition, (value) => changes[value] as (value: number) => number]
  }
  const before = contentOf(previous)
  const made4 = editTable4(unpackTable4(before.shape4, before.table4), changes4(...changed(4)))
  const made6 = editTable6(unpackTable6(before.shape6, before.table6), changes6(...changed(6)))
  if (!made6 || classes.failed) return undefined
  const [table4, table6] = [packTable4(made4), packTable6(made6)]
  const encoded = classes.encode(live, slots, named)
  const content: Content = {
    policy,
    shape4: table4.shape,
    shape6: table6.shape,
    counts: {
      list_count: lists.size,
      class_count: classes.count,
      rule_count: encoded?.ruleCount ?? said.rule_count,
    },
    lists: encodeLists(lists, slots.lists),
    classes: encoded?.classes ?? sections.CLASSES,
    rules: encoded?.rules ?? sections.RULES,
    interfaces: encodeInterfaces(named, slots.interfaces, state.localPorts, policy.anomalies),
    rates: encodeRates(state.rateLimits ?? new Map(), slots.rates ?? new Map(), named),
    receiveMax: state.receiveMax,
    table4: table4.sections,
    table6: table6.sections,
    ...compileBalance(source),
  }
  return layOut(content, meta, previous, (name, words) =>
    nextDigest(words, sections[name], previous.directory[name].digest),
  )
}
