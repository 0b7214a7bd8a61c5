// Lists in an image: their records (struct list), and their addresses according to tables and rules.

import { LINE_SIZE, LIST_SLOTS, listCodec } from '../../abi/generated.ts'
import { listOf, recordOf } from '../../abi/list-record.ts'
import type { AddressSet, Family } from '../../model/address.ts'
import { EMPTY4, EMPTY6, RangesBuilder, WIDTH } from '../../model/ranges.ts'
import { observes } from '../../model/scope.ts'
import { type List, listPrefixes, type ScopedSet, scopeKey } from '../../model/state.ts'
import { listDigest } from '../lines/digest.ts'
import { corrupt, makeLines, viewOf } from '../lines/lines.ts'
import { type LivePart, sortedLists } from './classes.ts'
import type { Partition } from './partition.ts'
import type { LiveClasses } from './rules.ts'

/** Encodes the records of all lists, in the order of list names. Throws RangeError if a list has no slot. */
export function encodeLists(lists: ReadonlyMap<string, List>, slots: ReadonlyMap<string, number>): Uint32Array {
  const words = makeLines(lists.size)
  const view = new DataView(words.buffer)
  for (const [number, list] of sortedLists(lists).entries()) {
    const slot = slots.get(list.name)
    if (slot === undefined) throw new RangeError(`list ${list.name} has no slot`)
    listCodec.encode(
      {
        ...recordOf(list),
        digest: listDigest(list),
        scopes: list.sets.length,
        slot,
        observes: observes(list) ? 1 : 0,
        prefixes: BigInt(listPrefixes(list)),
      },
      view,
      number * LINE_SIZE,
    )
  }
  return words
}

/** The addresses of every part, by part number. */
export function collect(partition4: Partition, partition6: Partition, live: LiveClasses): AddressSet[] {
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
    if (!parts) throw corrupt(`class ${value} does not exist`)
    if (i + 1 === length) end.fill(0xffffffff)
    else before(end, starts, (i + 1) * width)
    for (const part of parts) {
      builders[part] ??= new RangesBuilder(family)
      builders[part].add(starts, i * width, end, 0)
    }
  }
  return builders
}

/** Writes the predecessor of the bound at word `i` of `bounds` to `target`. */
function before(target: Uint32Array, bounds: Uint32Array, i: number): void {
  let borrow = 1
  for (let word = target.length - 1; word >= 0; word--) {
    const difference = (bounds[i + word] as number) - borrow
    target[word] = difference
    borrow = difference < 0 ? 1 : 0
  }
}

/**
 * Decodes the records into lists, with the addresses that `collect` found.
 *
 * @returns `drifted`: the recorded digests of lists that have another one
 * @throws XdpError E113 if records and rules are inconsistent
 */
export function decodeLists(
  records: DataView,
  count: number,
  { parts, disputed }: LiveClasses,
  addresses: readonly AddressSet[],
): { lists: Map<string, List>; slots: Map<string, number>; drifted: Map<string, bigint> } {
  if (count > LIST_SLOTS || count * LINE_SIZE > records.byteLength) throw corrupt('the lists are truncated')
  const partsBySlot = new Map<number, LivePart[]>()
  for (const part of parts) {
    if (part) partsBySlot.set(part.slot, [...(partsBySlot.get(part.slot) ?? []), part])
  }
  const lists = new Map<string, List>()
  const slots = new Map<string, number>()
  const drifted = new Map<string, bigint>()
  for (let number = 0; number < count; number++) {
    const record = listCodec.decode(records, number * LINE_SIZE)
    const own = partsBySlot.get(record.slot) ?? []
    partsBySlot.delete(record.slot)
    const recorded = listOf(record)
    const kind = own.find((part) => part.kind !== recorded.kind)?.kind ?? recorded.kind
    // The sources of a limit are found by its slot, and those of no limit are no list.
    if ((kind === 'sources') !== (recorded.kind === 'sources')) throw corrupt(`list ${record.name}`)
    const list: List = {
      // The data plane follows the rules, so their kind counts.
      kind,
      name: recorded.name,
      sets: canonicalSets(own.map((part) => ({ scope: part.scope, addresses: addresses[part.number] as AddressSet }))),
    }
    if (lists.has(list.name)) throw corrupt(`list ${list.name} occurs twice`)
    lists.set(list.name, list)
    slots.set(list.name, record.slot)
    const isDisputed = own.some(({ number }) => disputed.has(number))
    if (isDisputed || listDigest(list) !== record.digest) drifted.set(list.name, record.digest)
  }
  if (partsBySlot.size > 0) throw corrupt('a rule names a list that does not exist')
  return { lists, slots, drifted }
}

/** The non-empty sets, in the order of their scopes. */
function canonicalSets(sets: readonly ScopedSet[]): ScopedSet[] {
  return sets
    .filter(({ addresses: { v4, v6 } }) => v4.length > 0 || v6.length > 0)
    .map((set) => ({ set, key: scopeKey(set.scope) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ set }) => set)
}

/** The record of a list in an image. */
export interface ListRecord {
  readonly name: string
  /** Result of listDigest. */
  readonly digest: bigint
  readonly slot: number
}

/** Reads the records in the section of lists. */
export function readRecords(lists: Uint32Array, count: number): ListRecord[] {
  const view = viewOf(lists)
  return Array.from({ length: Math.min(count, view.byteLength / LINE_SIZE) }, (_, number) => {
    const { digest, slot, ...record } = listCodec.decode(view, number * LINE_SIZE)
    return { name: listOf(record).name, digest, slot }
  })
}
