// The image of a policy generation: every line of the `policy` map as one block of bytes. This room owns what the
// bytes mean together; it reads and writes no map and knows no path. Compiling is pure and deterministic: equal states
// give equal bytes. Decoding gives back the state that a packet meets, whatever the bytes are, or says that they are
// damaged; it never trusts a number in them.

import {
  ABI_VERSION,
  HEADER_LINES,
  LINE_SIZE,
  LIST_SLOTS,
  type Meta,
  metaCodec,
  SETTINGS_FLAG,
  settingsCodec,
  table6Codec,
} from '../abi/generated.ts'
import { fail } from '../diagnostics.ts'
import type { List, Policy, State } from '../model/state.ts'
import { Classes, type Part, partsOf } from './classes.ts'
import { policyDigest } from './digest.ts'
import { layOut, META_LINE, SETTINGS_LINE, sectionReader, TABLE6_LINE } from './layout.ts'
import { corrupt } from './lines.ts'
import { collect, decodeLists, encodeLists } from './lists.ts'
import { sweep } from './partition.ts'
import { decodeClasses, encodeClasses } from './rules.ts'
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

/** Part numbers are 16 bits wide. */
export const MAX_PARTS = 0x10000

/** The parts of all lists. Throws XdpError E203 where they are more than can be numbered. */
function numberedParts(lists: ReadonlyMap<string, List>): Part[] {
  const hint = 'merge lists that always act alike'
  if (lists.size > LIST_SLOTS) throw fail('E203', `there are ${lists.size} lists, but at most ${LIST_SLOTS} fit`, hint)
  const parts = partsOf(lists)
  if (parts.length <= MAX_PARTS) return parts
  throw fail('E203', `the lists have ${parts.length} scopes in all, but at most ${MAX_PARTS} fit`, hint)
}

/**
 * Compiles the lists and the policy (`pass` where there is none) of a canonical state.
 *
 * @param slots list_stats slot by list name, for every list
 * @returns whole lines; `committed_at` is 0
 * @throws XdpError E202, E203 or E204 where the state is more than the tables can hold
 */
export function compileImage({
  state: { lists, policy = { default: 'pass' } },
  slots,
  meta,
}: {
  readonly state: State
  readonly slots: ReadonlyMap<string, number>
  readonly meta: ImageMeta
}): Uint8Array {
  const parts = numberedParts(lists)
  const classes = new Classes(parts)
  const addresses = parts.map(({ set }) => set.addresses)
  const table4 = compileTable4(
    sweep(
      4,
      addresses.map(({ v4 }) => v4),
      classes,
    ),
  )
  const table6 = compileTable6(
    sweep(
      6,
      addresses.map(({ v6 }) => v6),
      classes,
    ),
  )
  const encoded = encodeClasses(classes.members, parts, slots)
  const { words, at } = layOut({
    LISTS: encodeLists(lists, slots),
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
  const places4 = {
    host_filter: at('HOST_FILTER4'),
    hosts: at('HOSTS4'),
    range_filter: at('RANGE_FILTER4'),
    root: at('ROOT4'),
    ranges: at('RANGES4'),
  }
  const settings = {
    abi_version: ABI_VERSION,
    flags: policy.default === 'drop' ? SETTINGS_FLAG.DEFAULT_DROP : 0,
    classes: at('CLASSES'),
    rules: at('RULES'),
    table4: { ...table4.shape, ...places4 },
  }
  const places6 = {
    filter: at('FILTER6'),
    blocks: at('BLOCKS6'),
    root: at('ROOT6'),
    ranges: at('RANGES6'),
    trees: at('TREES6'),
  }
  const record: Meta = {
    generation: BigInt(meta.generation),
    committed_at: 0n,
    netns: meta.netns,
    object_digest: meta.objectDigest,
    policy_digest: policyDigest(policy),
    lists: at('LISTS'),
    list_count: lists.size,
    class_count: classes.members.length,
    rule_count: encoded.ruleCount,
  }
  const view = new DataView(words.buffer)
  settingsCodec.encode(settings, view, SETTINGS_LINE * LINE_SIZE)
  table6Codec.encode({ ...table6.shape, ...places6 }, view, TABLE6_LINE * LINE_SIZE)
  metaCodec.encode(record, view, META_LINE * LINE_SIZE)
  return new Uint8Array(words.buffer)
}

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
  const image = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  if (image.length < HEADER_LINES * LINE_SIZE) throw corrupt('the header is cut off')
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  const settings = settingsCodec.decode(view, SETTINGS_LINE * LINE_SIZE)
  const { table4 } = settings
  const table6 = table6Codec.decode(view, TABLE6_LINE * LINE_SIZE)
  const meta = metaCodec.decode(view, META_LINE * LINE_SIZE)
  if (settings.abi_version !== ABI_VERSION) throw corrupt(`ABI version ${settings.abi_version}, not ${ABI_VERSION}`)
  const section = sectionReader(image)
  const classes = decodeClasses(
    viewOf(section('CLASSES', settings.classes)),
    viewOf(section('RULES', settings.rules)),
    meta.class_count,
    meta.rule_count,
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
  const policy: Policy = { default: settings.flags & SETTINGS_FLAG.DEFAULT_DROP ? 'drop' : 'pass' }
  const records = viewOf(section('LISTS', meta.lists))
  const addresses = collect(partition4, partition6, classes)
  const { lists, slots, drifted } = decodeLists(records, meta.list_count, classes, addresses)
  const policyDrifted = policyDigest(policy) !== meta.policy_digest
  return { policy, lists, slots, meta, drifted: policyDrifted ? ['policy', ...drifted] : drifted }
}

const viewOf = (words: Uint32Array): DataView => new DataView(words.buffer, words.byteOffset, words.byteLength)
