// The records that the control plane keeps in shared maps: the counter slot of each interface, the index from ifindex to
// slot that the data plane reads, and the devices stacked on each interface. Pure.

import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import {
  ATTACH_MODE,
  type Attachment as AttachmentRecord,
  attachmentCodec,
  INTERFACE_FLAG,
  INTERFACE_INDEX_SIZE,
  INTERFACE_PROBES,
  type InterfaceEntry,
  type InterfaceStack,
  interfaceEntryCodec,
  interfaceStackCodec,
} from '../../abi/generated.ts'
import { flagsOf } from '../../abi/place.ts'
import { fail } from '../../diagnostics.ts'
import { membersOf } from '../../model/link.ts'
import type { Link } from '../../model/live.ts'
import { NO_STACK, type Stack } from '../../model/stack.ts'
import type { AttachMode } from '../../model/state.ts'

/** linux/if_link.h has other numbers; these are ours. */
export const MODE_NUMBERS: Readonly<Record<AttachMode, number>> = {
  native: ATTACH_MODE.NATIVE,
  generic: ATTACH_MODE.GENERIC,
  offload: ATTACH_MODE.OFFLOAD,
}

/** The mode of a number of ours; undefined for another number, which a damaged record may have. */
export const modeOf = (number: number): AttachMode | undefined =>
  (Object.keys(MODE_NUMBERS) as AttachMode[]).find((mode) => MODE_NUMBERS[mode] === number)

/** One value of a shared map. */
export interface Write {
  readonly key: number
  readonly value: Uint8Array
}

export const FREE_ENTRY: InterfaceEntry = { ifindex: 0, slot: 0, flags: 0 }

/** The entry that the data plane finds for an ifindex. Mirrors lookup_interface of the data plane. */
export function indexedEntry(index: readonly InterfaceEntry[], ifindex: number): InterfaceEntry | undefined {
  for (let probe = 0; probe < INTERFACE_PROBES; probe++) {
    const entry = index[(ifindex + probe) % INTERFACE_INDEX_SIZE]
    if (entry?.ifindex === ifindex) return entry
  }
  return undefined
}

export const isMember = ({ flags }: InterfaceEntry): boolean => (flags & INTERFACE_FLAG.MEMBER) !== 0

export const isSameEntry = (left: InterfaceEntry, right: InterfaceEntry): boolean =>
  left.ifindex === right.ifindex && left.slot === right.slot && left.flags === right.flags

type IndexedLink = Pick<Link, 'name' | 'ifindex' | 'kind' | 'linkType' | 'isMultipoint' | 'master'>

/**
 * The entries of interfaces with these slots, by name: one for each, and one for each member on which its packets
 * arrive. A member that has a slot itself counts for that.
 */
export function entriesOf(
  slots: ReadonlyMap<string, number>,
  links: ReadonlyMap<string, IndexedLink>,
): InterfaceEntry[] {
  const own = [...slots].flatMap(([name, slot]) => {
    const link = links.get(name)
    return link ? [{ link, slot }] : []
  })
  return own.flatMap(({ link, slot }) => [
    { ifindex: link.ifindex, slot, flags: flagsOf(link) },
    ...membersOf(link, links)
      .filter(({ name }) => !slots.has(name))
      .map(({ ifindex }) => ({ ifindex, slot, flags: INTERFACE_FLAG.MEMBER })),
  ])
}

/** Finds a place for the entry; if all in its reach are taken, moves others within theirs (an augmenting path). */
function place(index: InterfaceEntry[], entry: InterfaceEntry, tried: Set<number>): boolean {
  const reach = Array.from({ length: INTERFACE_PROBES }, (_, probe) => (entry.ifindex + probe) % INTERFACE_INDEX_SIZE)
  const movable = (at: number): boolean => {
    if (tried.has(at)) return false
    tried.add(at)
    return place(index, index[at] ?? FREE_ENTRY, tried)
  }
  const found = reach.find((at) => index[at]?.ifindex === 0) ?? reach.find(movable)
  if (found !== undefined) index[found] = entry
  return found !== undefined
}

/**
 * Places every entry in the open-addressed index, in order of slot. Throws XdpError E205 if that is impossible: more
 * than INTERFACE_PROBES interfaces with numbers that are equal modulo INTERFACE_INDEX_SIZE.
 */
export function buildIndex(entries: readonly InterfaceEntry[]): InterfaceEntry[] {
  const index = new Array<InterfaceEntry>(INTERFACE_INDEX_SIZE).fill(FREE_ENTRY)
  for (const entry of entries.toSorted((left, right) => left.slot - right.slot)) {
    if (!place(index, entry, new Set())) {
      throw fail(
        'E205',
        `too many interfaces have an index equal to ${entry.ifindex} modulo ${INTERFACE_INDEX_SIZE}; not all can be counted`,
      )
    }
  }
  return index
}

/** An entry of the index as its map holds it. */
export const encodeEntry = (entry: InterfaceEntry): Uint8Array => {
  const view = new DataView(new ArrayBuffer(interfaceEntryCodec.size))
  interfaceEntryCodec.encode(entry, view)
  return new Uint8Array(view.buffer)
}

/** A record as its map holds it. */
export function encodeRecord(record: AttachmentRecord): Uint8Array {
  const view = new DataView(new ArrayBuffer(attachmentCodec.size))
  attachmentCodec.encode(record, view)
  return new Uint8Array(view.buffer)
}

export const FREE_RECORD: AttachmentRecord = { name: '', ifindex: 0, mode: 0, since: 0n }

/** Writes that turn index `before` into `after`: new places first, so that every interface always has one. */
export function indexWrites(before: readonly InterfaceEntry[], after: readonly InterfaceEntry[]): Write[] {
  const changed = after.flatMap((entry, key) => {
    const old = before[key] ?? FREE_ENTRY
    return isSameEntry(old, entry) ? [] : [{ key, entry }]
  })
  const order = [
    ...changed.filter(({ entry }) => entry.ifindex !== 0),
    ...changed.filter(({ entry }) => entry.ifindex === 0),
  ]
  return order.map(({ key, entry }) => ({ key, value: encodeEntry(entry) }))
}

/** A MAC address as the data plane reads it from a frame: six bytes and two zeros, as a number in host order. */
function macNumber(mac: string): bigint {
  const view = new DataView(new ArrayBuffer(8))
  for (let i = 0; i < 6; i++) view.setUint8(i, Number.parseInt(mac.slice(i * 2, i * 2 + 2), 16))
  return view.getBigUint64(0, LITTLE_ENDIAN)
}

const { mac: MACS_AT, above: DEVICES_AT } = interfaceStackCodec.offsets
const MOST_MACS = (DEVICES_AT - MACS_AT) / 8
const MOST_DEVICES = (interfaceStackCodec.size - DEVICES_AT) / 4

const filled = <T>(values: readonly T[], count: number, empty: T): T[] =>
  Array.from({ length: count }, (_, i) => values[i] ?? empty)

/** A stack as a record. One with more addresses or devices than fit fills the array: then the data plane accepts any. */
export const stackRecord = ({ macs, above }: Stack): InterfaceStack => ({
  mac: filled(macs.map(macNumber), MOST_MACS, 0n),
  above: filled(above, MOST_DEVICES, 0),
})

export const FREE_STACK: InterfaceStack = stackRecord(NO_STACK)

/** A record of a stack as its map holds it. */
export function encodeStack(record: InterfaceStack): Uint8Array {
  const view = new DataView(new ArrayBuffer(interfaceStackCodec.size))
  interfaceStackCodec.encode(record, view)
  return new Uint8Array(view.buffer)
}

export const isSameStack = (left: InterfaceStack, right: InterfaceStack): boolean =>
  left.mac.every((mac, i) => mac === right.mac[i]) && left.above.every((device, i) => device === right.above[i])
