// The image of a policy generation: every line of the `policy` map as one block of bytes. This room owns what the
// bytes mean together; it reads and writes no map and knows no path. Compiling is pure and deterministic: equal states
// give equal bytes. Decoding gives back the state that a packet meets, whatever the bytes are, or says that they are
// damaged; it never trusts a number in them.

import {
  ABI_VERSION,
  directoryCodec,
  HEADER_LINES,
  LINE_SIZE,
  LIST_SLOTS,
  listCodec,
  type Meta,
  metaCodec,
  SECTION,
  SETTINGS_FLAG,
  type SectionExtent,
  settingsCodec,
  table6Codec,
} from '../abi/generated.ts'
import { fail } from '../diagnostics.ts'
import type { AddressSet, Family } from '../model/address.ts'
import { EMPTY4, EMPTY6, RangesBuilder, WIDTH } from '../model/ranges.ts'
import { type List, type ListKind, type Policy, type ScopedSet, type State, scopeKey } from '../model/state.ts'
import { Classes, partsOf, sortedLists } from './classes.ts'
import { listDigest, policyDigest } from './digest.ts'
import { corrupt, LINE_WORDS, makeLines } from './lines.ts'
import { type Partition, sweep } from './partition.ts'
import { decodeClasses, encodeClasses, type LiveClasses, type LivePart } from './rules.ts'
import { compileTable4, decodeTable4 } from './table4.ts'
import { compileTable6, decodeTable6 } from './table6.ts'

/** What a generation records of itself besides its content. */
export interface ImageMeta {
  readonly generation: number
  /** Inode of the instance's network namespace. */
  readonly netns: bigint
  /** First 16 bytes of the SHA-256 of the BPF object. */
  readonly objectDigest: Uint8Array
}

const SETTINGS_LINE = 0
const TABLE6_LINE = 1
const META_LINE = 2
const DIRECTORY_LINE = 3

/** Part numbers are 16 bits wide. */
const MAX_PARTS = 0x10000

type SectionName = keyof typeof SECTION
/** In the order in which they lie in the image. */
const SECTION_NAMES = (Object.keys(SECTION) as SectionName[]).sort((a, b) => SECTION[a] - SECTION[b])

/**
 * Compiles the lists and the policy (`pass` where there is none) of a canonical state.
 *
 * @param slots list_stats slot by list name, for every list
 * @returns whole lines; `committed_at` is 0
 * @throws XdpError E202, E203 or E204 where the state is more than the tables can hold
 */
export function compileImage({
  state,
  slots,
  meta,
}: {
  readonly state: State
  readonly slots: ReadonlyMap<string, number>
  readonly meta: ImageMeta
}): Uint8Array {
  const parts = partsOf(state.lists)
  if (state.lists.size > LIST_SLOTS) {
    throw fail('E203', `there are ${state.lists.size} lists, but at most ${LIST_SLOTS} fit`, 'merge some of them')
  }
  if (parts.length > MAX_PARTS) {
    throw fail(
      'E203',
      `the lists have ${parts.length} scopes in all, but at most ${MAX_PARTS} fit`,
      'merge some of them',
    )
  }
  const classes = new Classes(parts)
  const partition = (family: Family, pick: (set: AddressSet) => AddressSet['v4']): Partition =>
    sweep(
      family,
      parts.map(({ set }) => pick(set.addresses)),
      classes,
    )
  const table4 = compileTable4(partition(4, ({ v4 }) => v4))
  const table6 = compileTable6(partition(6, ({ v6 }) => v6))
  const encoded = encodeClasses(classes.members, parts, slots)
  const policy = state.policy ?? { default: 'pass' }
  const { words, at, extents } = layOut({
    LISTS: encodeLists(state.lists, slots),
    CLASSES: encoded.classes,
    RULES: encoded.rules,
    HOST_FILTER4: table4.sections.hostFilter,
    HOSTS4: table4.sections.hosts,
    RANGE_FILTER4: table4.sections.rangeFilter,
    ROOT4: table4.sections.root,
    RANGES4: table4.sections.ranges,
    FILTER6: table6.sections.filter,
    BLOCKS6: table6.sections.blocks,
    ROOT6: table6.sections.root,
    RANGES6: table6.sections.ranges,
    TREES6: table6.sections.trees,
  })
  const view = new DataView(words.buffer)
  settingsCodec.encode(
    {
      abi_version: ABI_VERSION,
      flags: policy.default === 'drop' ? SETTINGS_FLAG.DEFAULT_DROP : 0,
      classes: at('CLASSES'),
      rules: at('RULES'),
      table4: {
        ...table4.shape,
        host_filter: at('HOST_FILTER4'),
        hosts: at('HOSTS4'),
        range_filter: at('RANGE_FILTER4'),
        root: at('ROOT4'),
        ranges: at('RANGES4'),
      },
    },
    view,
    SETTINGS_LINE * LINE_SIZE,
  )
  table6Codec.encode(
    {
      ...table6.shape,
      filter: at('FILTER6'),
      blocks: at('BLOCKS6'),
      root: at('ROOT6'),
      ranges: at('RANGES6'),
      trees: at('TREES6'),
    },
    view,
    TABLE6_LINE * LINE_SIZE,
  )
  metaCodec.encode(
    {
      generation: BigInt(meta.generation),
      committed_at: 0n,
      netns: meta.netns,
      object_digest: meta.objectDigest,
      policy_digest: policyDigest(policy),
      lists: at('LISTS'),
      list_count: state.lists.size,
      class_count: classes.members.length,
      rule_count: encoded.ruleCount,
    },
    view,
    META_LINE * LINE_SIZE,
  )
  directoryCodec.encode({ sections: extents }, view, DIRECTORY_LINE * LINE_SIZE)
  return new Uint8Array(words.buffer)
}

function encodeLists(lists: ReadonlyMap<string, List>, slots: ReadonlyMap<string, number>): Uint32Array {
  const words = makeLines(lists.size)
  const view = new DataView(words.buffer)
  for (const [number, list] of sortedLists(lists).entries()) {
    const slot = slots.get(list.name)
    if (slot === undefined) throw new RangeError(`list ${list.name} has no slot`)
    listCodec.encode(
      {
        name: list.name,
        digest: listDigest(list),
        scopes: list.sets.length,
        slot,
        allow: list.kind === 'allowlist' ? 1 : 0,
      },
      view,
      number * LINE_SIZE,
    )
  }
  return words
}

interface Layout {
  /** The image, sections in place, header still zero. */
  readonly words: Uint32Array
  /** First line of a section. */
  at(name: SectionName): number
  readonly extents: readonly SectionExtent[]
}

/** Puts the sections one after the other behind the header. */
function layOut(sections: Readonly<Record<SectionName, Uint32Array>>): Layout {
  const extents = Array.from({ length: DIRECTORY_SECTIONS }, (): SectionExtent => ({ first: 0, lines: 0 }))
  let line = HEADER_LINES
  for (const name of SECTION_NAMES) {
    const lines = sections[name].length / LINE_WORDS
    extents[SECTION[name]] = { first: line, lines }
    line += lines
  }
  const words = makeLines(line)
  const at = (name: SectionName): number => (extents[SECTION[name]] as SectionExtent).first
  for (const name of SECTION_NAMES) words.set(sections[name], at(name) * LINE_WORDS)
  return { words, at, extents }
}

const DIRECTORY_SECTIONS = directoryCodec.size / 8

/** What an image says. */
export interface DecodedImage {
  readonly policy: Policy
  /** Canonical, as a desired state's. */
  readonly lists: ReadonlyMap<string, List>
  /** list_stats slot by list name. */
  readonly slots: ReadonlyMap<string, number>
  readonly meta: Meta
  /** What is not as the apply that wrote the image recorded it: names of lists, and `policy`. */
  readonly drifted: readonly string[]
}

/**
 * Reads an image back: the lists as packets meet them.
 *
 * @throws XdpError E113 where the bytes are damaged in a way that is no other policy
 */
export function decodeImage(bytes: Uint8Array): DecodedImage {
  // Typed arrays over the bytes need them aligned, which a slice of a pooled Buffer is not.
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  const view = new DataView(aligned.buffer, aligned.byteOffset, aligned.byteLength)
  if (bytes.length < HEADER_LINES * LINE_SIZE) throw corrupt('the header is cut off')
  const settings = settingsCodec.decode(view, SETTINGS_LINE * LINE_SIZE)
  const meta = metaCodec.decode(view, META_LINE * LINE_SIZE)
  const section = sectionReader(aligned, view)
  const dataView = (words: Uint32Array): DataView => new DataView(words.buffer, words.byteOffset, words.byteLength)
  const live = decodeClasses(
    dataView(section('CLASSES', settings.classes)),
    dataView(section('RULES', settings.rules)),
    meta.class_count,
    meta.rule_count,
  )
  const { table4 } = settings
  const table6 = table6Codec.decode(view, TABLE6_LINE * LINE_SIZE)
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
  const policy: Policy = { default: settings.flags & SETTINGS_FLAG.DEFAULT_DROP ? 'drop' : 'pass' }
  const records = dataView(section('LISTS', meta.lists))
  const { lists, slots, drifted } = readLists(records, meta.list_count, live, collect(partition4, partition6, live))
  if (policyDigest(policy) !== meta.policy_digest) drifted.unshift('policy')
  return { policy, lists, slots, meta, drifted }
}

/** The words of a section, which must lie inside the image and begin where the header says. */
function sectionReader(bytes: Uint8Array, view: DataView): (name: SectionName, first: number) => Uint32Array {
  const { sections } = directoryCodec.decode(view, DIRECTORY_LINE * LINE_SIZE)
  return (name, first) => {
    const extent = sections[SECTION[name]] as SectionExtent
    if (extent.first !== first || (first + extent.lines) * LINE_SIZE > bytes.length) {
      throw corrupt(`section ${name.toLowerCase()} is not where the header says`)
    }
    return new Uint32Array(bytes.buffer, bytes.byteOffset + first * LINE_SIZE, extent.lines * LINE_WORDS)
  }
}

/** The addresses of every part, by part number. */
function collect(partition4: Partition, partition6: Partition, live: LiveClasses): AddressSet[] {
  const v4 = collectFamily(4, partition4, live)
  const v6 = collectFamily(6, partition6, live)
  return live.parts.map((_, part) => ({ v4: v4[part]?.finish() ?? EMPTY4, v6: v6[part]?.finish() ?? EMPTY6 }))
}

function collectFamily(family: Family, partition: Partition, { members }: LiveClasses): (RangesBuilder | undefined)[] {
  const { length, starts, values } = partition
  const width = WIDTH[family]
  const builders: (RangesBuilder | undefined)[] = []
  const end = new Uint32Array(width)
  for (let i = 0; i < length; i++) {
    const value = values[i] as number
    if (value === 0) continue
    const parts = members[value]
    if (!parts) throw corrupt(`class ${value} is not there`)
    if (i + 1 === length) end.fill(0xffffffff)
    else before(end, starts, (i + 1) * width)
    for (const part of parts) {
      builders[part] ??= new RangesBuilder(family)
      builders[part].add(starts, i * width, end, 0)
    }
  }
  return builders
}

/** Writes the bound before the one at word `i` of `bounds` to `target`. */
function before(target: Uint32Array, bounds: Uint32Array, i: number): void {
  let borrow = 1
  for (let word = target.length - 1; word >= 0; word--) {
    const difference = (bounds[i + word] as number) - borrow
    target[word] = difference
    borrow = difference < 0 ? 1 : 0
  }
}

function readLists(
  records: DataView,
  count: number,
  { parts }: LiveClasses,
  addresses: readonly AddressSet[],
): { lists: Map<string, List>; slots: Map<string, number>; drifted: string[] } {
  if (count > LIST_SLOTS || count * LINE_SIZE > records.byteLength) throw corrupt('the lists are cut off')
  const partsBySlot = new Map<number, LivePart[]>()
  for (const part of parts) {
    if (part) partsBySlot.set(part.slot, [...(partsBySlot.get(part.slot) ?? []), part])
  }
  const lists = new Map<string, List>()
  const slots = new Map<string, number>()
  const drifted: string[] = []
  for (let number = 0; number < count; number++) {
    const record = listCodec.decode(records, number * LINE_SIZE)
    const own = partsBySlot.get(record.slot) ?? []
    partsBySlot.delete(record.slot)
    const recorded: ListKind = record.allow ? 'allowlist' : 'blocklist'
    const list: List = {
      // What the rules say is what packets meet.
      kind: own.find(({ kind }) => kind !== recorded)?.kind ?? recorded,
      name: record.name,
      sets: canonicalSets(own.map((part) => ({ scope: part.scope, addresses: addresses[part.number] as AddressSet }))),
    }
    if (lists.has(list.name)) throw corrupt(`list ${list.name} is there twice`)
    lists.set(list.name, list)
    slots.set(list.name, record.slot)
    if (listDigest(list) !== record.digest) drifted.push(list.name)
  }
  if (partsBySlot.size > 0) throw corrupt('a rule names a list that is not there')
  return { lists, slots, drifted }
}

/** The sets that hold anything, in order of their scopes. */
function canonicalSets(sets: readonly ScopedSet[]): ScopedSet[] {
  return sets
    .filter(({ addresses: { v4, v6 } }) => v4.length > 0 || v6.length > 0)
    .map((set) => ({ set, key: scopeKey(set.scope) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ set }) => set)
}
