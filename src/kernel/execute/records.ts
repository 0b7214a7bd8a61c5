// Lowering of the records: the counter slot of each interface, written before its program counts the first packet and
// removed after the last. Pure, like lower.ts.

import type { InterfaceEntry } from '../../abi/generated.ts'
import { BALANCER } from '../../features/balancer.ts'
import type { Lowering, Observed } from '../../features/feature.ts'
import { FILTER } from '../../features/filter.ts'
import type { Attaching, RecordWrite, Step } from '../../features/step.ts'
import { stackFor } from '../../model/stack.ts'
import type { AttachMode } from '../../model/state.ts'
import {
  buildIndex,
  encodeEntry,
  encodeRecord,
  encodeStack,
  entriesOf,
  FREE_ENTRY,
  FREE_RECORD,
  FREE_STACK,
  indexWrites,
  isSameStack,
  MODE_NUMBERS,
  stackRecord,
} from '../observe/records.ts'

type Index = readonly InterfaceEntry[]

/** Slots of live interfaces by name. The ifindex of a removed interface may belong to another one by now. */
function liveSlots({ instance, links }: Observed): Map<string, number> {
  const records = (instance.attachments ?? []).map((record, slot) => ({ ...record, slot }))
  const used = records.filter(
    ({ name, ifindex, slot }) => slot !== 0 && ifindex !== 0 && links.get(name)?.ifindex === ifindex,
  )
  return new Map(used.map(({ name, slot }) => [name, slot]))
}

export const slotOf = ({ plan }: Lowering, name: string): number => plan.slots.interfaces.get(name) ?? 0

/** The index while both old and new interfaces are attached, and the index afterwards. */
function indexes(lowering: Lowering, placed: readonly Attaching[]): { during: Index; after: Index } {
  const { plan, live } = lowering
  const taken = new Set(placed.map((one) => slotOf(lowering, one.interface)))
  const during = new Map([...liveSlots(live)].filter(([, slot]) => !taken.has(slot)))
  for (const { interface: name } of placed) during.set(name, slotOf(lowering, name))
  const remaining = new Set(plan.slots.interfaces.values())
  const after = new Map([...during].filter(([, slot]) => remaining.has(slot)))
  return { during: buildIndex(entriesOf(during, live.links)), after: buildIndex(entriesOf(after, live.links)) }
}

/** The record of one attachment. */
export function recordOf(
  lowering: Lowering,
  { interface: name, ifindex }: Pick<Attaching, 'interface' | 'ifindex'>,
  mode: AttachMode,
): RecordWrite {
  const { paths, live, target } = lowering
  const slot = slotOf(lowering, name)
  return {
    map: paths.sharedMap(FILTER.maps.attachments),
    key: slot,
    value: encodeRecord({ name, ifindex, mode: MODE_NUMBERS[mode], since: BigInt(target.now) }),
    before: encodeRecord(live.instance.attachments?.[slot] ?? FREE_RECORD),
  }
}

/** Interfaces whose record this plan writes: those it attaches to, and those that change their slot. */
function recorded(lowering: Lowering, steps: readonly Step[]): Attaching[] {
  const { slots } = lowering.live
  return steps.flatMap((step): Attaching[] => {
    if (step.kind === 'attach') return [step]
    // After an ABI change, attachments that stay get new records too.
    const hasMoved =
      step.kind === 'replace' && slots.interfaces.get(step.interface) !== slotOf(lowering, step.interface)
    return hasMoved ? [step] : []
  })
}

function indexSteps({ paths }: Lowering, before: Index, after: Index, kind: 'record' | 'forget'): Step[] {
  const map = paths.sharedMap(FILTER.maps.interfaceIndex)
  return indexWrites(before, after).map(({ key, value }): Step => {
    const write = { map, key, value }
    return kind === 'forget' ? { kind, ...write } : { kind, ...write, before: encodeEntry(before[key] ?? FREE_ENTRY) }
  })
}

/** Writes of stacks that differ, for the interfaces of the plan. */
function stackSteps({ paths, plan, live }: Lowering): Step[] {
  const map = paths.sharedMap(BALANCER.maps.interfaceStack)
  return [...plan.slots.interfaces].flatMap(([name, key]): Step[] => {
    const before = live.instance.stacks?.[key] ?? FREE_STACK
    const after = stackRecord(stackFor(plan.state, name, live.links))
    if (isSameStack(before, after)) return []
    return [{ kind: 'record', map, key, value: encodeStack(after), before: encodeStack(before) }]
  })
}

/** Writes the records of programs before they count their first packet. */
export function recordSteps(lowering: Lowering, steps: readonly Step[]): Step[] {
  const placed = recorded(lowering, steps)
  const { during } = indexes(lowering, placed)
  return [
    ...placed.map((one): Step => ({ kind: 'record', ...recordOf(lowering, one, one.modes[0] ?? 'native') })),
    ...indexSteps(lowering, lowering.live.instance.index ?? [], during, 'record'),
    ...stackSteps(lowering),
  ]
}

/** The present values of all records that the steps write, each once; `before` is the value that the steps leave. */
export function recordsBefore({ paths, live: { instance } }: Lowering, steps: readonly Step[]): RecordWrite[] {
  const present = new Map([
    [
      paths.sharedMap(FILTER.maps.attachments),
      (key: number) => encodeRecord(instance.attachments?.[key] ?? FREE_RECORD),
    ],
    [paths.sharedMap(FILTER.maps.interfaceIndex), (key: number) => encodeEntry(instance.index?.[key] ?? FREE_ENTRY)],
    [paths.sharedMap(BALANCER.maps.interfaceStack), (key: number) => encodeStack(instance.stacks?.[key] ?? FREE_STACK)],
  ])
  const writes = steps.filter((step) => step.kind === 'record' || step.kind === 'forget')
  const last = new Map(writes.map((write) => [`${write.map} ${write.key}`, write]))
  return [...last.values()].flatMap(({ map, key, value }) => {
    const read = present.get(map)
    return read ? [{ map, key, value: read(key), before: value }] : []
  })
}

/** Removes the records of detached interfaces last, so that every packet is counted. */
export function forgetSteps(lowering: Lowering, steps: readonly Step[]): Step[] {
  const { paths, plan, live } = lowering
  const map = paths.sharedMap(FILTER.maps.attachments)
  const stacks = paths.sharedMap(BALANCER.maps.interfaceStack)
  const gone = [...live.slots.interfaces].filter(([name]) => !plan.slots.interfaces.has(name))
  const { during, after } = indexes(lowering, recorded(lowering, steps))
  return [
    ...gone.map(([, key]): Step => ({ kind: 'forget', map, key, value: encodeRecord(FREE_RECORD) })),
    ...gone
      .filter(([, key]) => !isSameStack(live.instance.stacks?.[key] ?? FREE_STACK, FREE_STACK))
      .map(([, key]): Step => ({ kind: 'forget', map: stacks, key, value: encodeStack(FREE_STACK) })),
    ...indexSteps(lowering, during, after, 'forget'),
  ]
}
