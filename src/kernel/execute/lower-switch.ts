// Lowering of the switch: the program of every interface before and after. Pure, like lower.ts.

import type { Lowering } from '../../features/feature.ts'
import { FILTER } from '../../features/filter.ts'
import type { Attaching, StepOf } from '../../features/step.ts'
import type { AttachMode, Attachment } from '../../model/state.ts'
import type { Change } from '../../plan/change.ts'
import { recordOf } from './records.ts'

type InterfaceChange = Extract<Change, { kind: 'interface' }>

/** Pin of a foreign program while a rollback may restore it. */
const foreignPin = (instance: string, ifindex: number): string => `${instance}/foreign-${ifindex}`

interface Placed extends Attaching {
  readonly detachFirst: readonly AttachMode[]
  readonly overwrite: AttachMode | undefined
}

/** One interface, from its present program to that of the target. */
function place({ paths, live, target }: Lowering, wanted: Attachment): Placed {
  const link = live.links.get(wanted.interface)
  if (!link) throw new Error(`no interface ${wanted.interface}: a guard should have refused the plan`)
  const present = link.programs.find(({ generation }) => generation !== undefined) ?? link.programs[0]
  const inPlace = present !== undefined && wanted.modes.includes(present.mode) ? present.mode : undefined
  const { filter } = FILTER.programs
  return {
    interface: wanted.interface,
    ifindex: link.ifindex,
    present: link.programs.map(({ id }) => id),
    program: paths.program(target.generation, filter),
    modes: inPlace ? [inPlace] : wanted.modes,
    detachFirst: link.programs.map(({ mode }) => mode).filter((mode) => mode !== inPlace),
    overwrite: inPlace,
    previous: present && {
      mode: present.mode,
      foreign: present.generation === undefined,
      pinned:
        present.generation === undefined
          ? foreignPin(paths.instance, link.ifindex)
          : paths.program(present.generation, filter),
    },
  }
}

/** Interfaces on which the plan attaches a program. */
export const attachSteps = (lowering: Lowering, changes: readonly InterfaceChange[]): StepOf<'attach'>[] =>
  changes.flatMap((change) => {
    if (change.op === 'delete') return []
    const placed = place(lowering, change.after)
    const records = Object.fromEntries(placed.modes.map((mode) => [mode, recordOf(lowering, placed, mode)]))
    return [{ kind: 'attach', ...placed, records }]
  })

/** Interfaces that keep their mode and only change to a new generation. */
export function replaceSteps(lowering: Lowering, changes: readonly InterfaceChange[]): StepOf<'replace'>[] {
  if (!lowering.target.image) return []
  const changing = new Set(changes.map(({ key }) => key))
  const kept = [...lowering.live.state.interfaces.values()].filter(
    ({ interface: name }) => !changing.has(`interface:${name}`),
  )
  return kept.map((attachment) => {
    const { detachFirst: _, overwrite: __, ...placed } = place(lowering, attachment)
    return { kind: 'replace', ...placed, mode: attachment.modes[0] as AttachMode }
  })
}
