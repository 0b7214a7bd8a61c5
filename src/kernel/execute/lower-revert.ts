// Lowering of the way back: the steps that undo an unconfirmed switch. They are made with the plan, before the
// switch, so that going back needs neither config nor tables. Pure, like lower.ts.
//
// Records of interfaces that return come first, so that every packet is counted; then all programs return in one go. Only
// then is the new generation marked as uncommitted, so that the process may die at any step and the next one goes on.

import { LINE_SIZE, metaCodec } from '../../abi/generated.ts'
import type { NewGeneration } from '../../features/feature.ts'
import { FEATURES } from '../../features/features.ts'
import { FILTER } from '../../features/filter.ts'
import type { Previous, RecordWrite, Reverting, Step } from '../../features/step.ts'
import type { Confirmation } from '../../model/confirmation.ts'
import type { Change } from '../../plan/change.ts'
import { recordsBefore } from './records.ts'

type InterfaceChange = Extract<Change, { kind: 'interface' }>

/** The interfaces that the steps attach to or replace, and those that the plan detaches. */
function revertingOf(
  { paths, live }: NewGeneration,
  changes: readonly InterfaceChange[],
  steps: readonly Step[],
): Reverting[] {
  const placed = steps.flatMap((step): Reverting[] =>
    step.kind === 'attach' || step.kind === 'replace'
      ? [{ interface: step.interface, ifindex: step.ifindex, previous: step.previous }]
      : [],
  )
  const detached = changes.flatMap((change): Reverting[] => {
    const link = change.op === 'delete' ? live.links.get(change.before.interface) : undefined
    const program = link?.programs.find(({ generation }) => generation !== undefined)
    if (!link || program?.generation === undefined) return []
    const pinned = paths.program(program.generation, FILTER.programs.filter)
    const previous: Previous = { mode: program.mode, pinned, foreign: false }
    const given = live.chains.get(link.name)?.next?.id
    return [{ interface: link.name, ifindex: link.ifindex, previous, ...(given === undefined ? {} : { given }) }]
  })
  return [...placed, ...detached]
}

/** The line of the policy with the time of the commit, without that time. */
function uncommitted({ target: { image } }: NewGeneration): Uint8Array {
  const meta = new Uint8Array(LINE_SIZE)
  metaCodec.encode({ ...image.meta, committed_at: 0n }, new DataView(meta.buffer))
  return meta
}

const isFree = ({ value }: RecordWrite): boolean => value.every((byte) => byte === 0)

/** The steps back. `steps`: those of the switch and after it. */
export function revertSteps(
  lowering: NewGeneration,
  confirmation: Confirmation,
  changes: readonly InterfaceChange[],
  steps: readonly Step[],
): Step[] {
  const { paths, live, target } = lowering
  const revert: Step = {
    kind: 'revert',
    program: paths.program(target.generation, FILTER.programs.filter),
    interfaces: revertingOf(lowering, changes, steps),
  }
  if (!live.committed) return [revert, { kind: 'free', path: paths.instance }]
  const records = recordsBefore(lowering, steps)
  const kept = steps.flatMap((step) => (step.kind === 'keep-foreign' ? [step.pin] : []))
  return [
    ...FEATURES.flatMap(({ reverting }) => reverting?.(lowering) ?? []),
    ...records.filter((record) => !isFree(record)).map((record): Step => ({ kind: 'record', ...record })),
    revert,
    { kind: 'uncommit', policy: paths.policy(target.generation), meta: uncommitted(lowering) },
    ...records.filter(isFree).map(({ map, key, value }): Step => ({ kind: 'forget', map, key, value })),
    ...FEATURES.flatMap(({ reverted }) => reverted?.(lowering) ?? []),
    ...[...kept, paths.confirmation(confirmation), paths.generation(target.generation)].map(
      (path): Step => ({ kind: 'free', path }),
    ),
  ]
}
