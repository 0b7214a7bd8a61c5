// Lowering of the records: which interface counts in which slot, before a program counts its first packet and after it
// counted its last. Pure, as lower.ts.

import { type Command, updateCommand } from '../../abi/command.ts'
import type { InterfaceEntry } from '../../abi/generated.ts'
import type { Paths } from '../../abi/paths.ts'
import type { AttachMode } from '../../model/state.ts'
import type { Plan } from '../../plan/change.ts'
import type { Observation } from '../observe/observe.ts'
import { buildIndex, encodeRecord, FREE_RECORD, indexWrites, MODE_NUMBERS, type Write } from '../observe/records.ts'
import type { AttachStep } from './steps.ts'

const writes = (map: string, values: readonly Write[]): Command[] =>
  values.map(({ key, value }) => updateCommand(map, key, value))

/** Slots by ifindex. The number of an interface that is gone may belong to another one by now. */
function liveSlots(live: Observation): Map<number, number> {
  const records = (live.instance.attachments ?? []).map((record, slot) => ({ ...record, slot }))
  const used = records.filter(
    ({ name, ifindex, slot }) => slot !== 0 && ifindex !== 0 && live.links.get(name)?.ifindex === ifindex,
  )
  return new Map(used.map(({ ifindex, slot }) => [ifindex, slot]))
}

/** The index while both what comes and what goes is attached, and the index in the end. */
function indexes(
  plan: Plan,
  live: Observation,
  steps: readonly AttachStep[],
): { during: InterfaceEntry[]; after: InterfaceEntry[] } {
  const during = new Map([...liveSlots(live)].filter(([, slot]) => !steps.some((step) => step.slot === slot)))
  for (const { ifindex, slot } of steps) during.set(ifindex, slot)
  const remaining = new Set(plan.slots.interfaces.values())
  return {
    during: buildIndex(during),
    after: buildIndex(new Map([...during].filter(([, slot]) => remaining.has(slot)))),
  }
}

/** Records of what is about to be attached: before the program counts its first packet. */
export function recordSteps(
  paths: Paths,
  plan: Plan,
  live: Observation,
  steps: readonly AttachStep[],
  now: number,
): Command[] {
  return [
    ...steps.map((step) => recordCommand(paths, step, step.modes[0] ?? 'native', now)),
    ...writes(
      paths.sharedMap('interfaceIndex'),
      indexWrites(live.instance.index ?? [], indexes(plan, live, steps).during),
    ),
  ]
}

export function undoRecordSteps(paths: Paths, plan: Plan, live: Observation, steps: readonly AttachStep[]): Command[] {
  const { during } = indexes(plan, live, steps)
  return [
    ...steps.map(({ slot }) =>
      updateCommand(
        paths.sharedMap('attachments'),
        slot,
        encodeRecord(live.instance.attachments?.[slot] ?? FREE_RECORD),
      ),
    ),
    ...writes(paths.sharedMap('interfaceIndex'), indexWrites(during, live.instance.index ?? [])),
  ]
}

/** The record of one attachment. */
export const recordCommand = (paths: Paths, step: AttachStep, mode: AttachMode, now: number): Command => {
  const record = { name: step.interface, ifindex: step.ifindex, mode: MODE_NUMBERS[mode], since: BigInt(now) }
  return updateCommand(paths.sharedMap('attachments'), step.slot, encodeRecord(record))
}

/** Records of what was detached go last, so that every packet was counted. */
export function forgetSteps(paths: Paths, plan: Plan, live: Observation, steps: readonly AttachStep[]): Command[] {
  const gone = [...live.slots.interfaces].filter(([name]) => !plan.slots.interfaces.has(name))
  const { during, after } = indexes(plan, live, steps)
  return [
    ...gone.map(([, slot]) => updateCommand(paths.sharedMap('attachments'), slot, encodeRecord(FREE_RECORD))),
    ...writes(paths.sharedMap('interfaceIndex'), indexWrites(during, after)),
  ]
}
