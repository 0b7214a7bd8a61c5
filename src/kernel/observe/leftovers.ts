// Names in the instance directory beside the live generation: those that a pending confirmation needs, and leftovers.

import type { Generation, Instance } from '../../abi/instance.ts'
import { confirmationOf, isForeignPin, type Paths } from '../../abi/paths.ts'
import { SHARED_MAPS } from '../../features/features.ts'
import type { Confirmation } from '../../model/confirmation.ts'

/** The confirmation that the committed generation waits for. Markers of other generations are leftovers. */
export const pendingOf = (
  { others }: Pick<Instance, 'others'>,
  committed: Pick<Generation, 'number'> | undefined,
): Confirmation | undefined =>
  others.flatMap((name) => confirmationOf(name) ?? []).find(({ generation }) => generation === committed?.number)

/** Whether a pending confirmation needs a name in the instance directory: its marker, or a program that may return. */
const isKept = (name: string, pending: Confirmation | undefined): boolean =>
  pending !== undefined && (isForeignPin(name) || confirmationOf(name)?.id === pending.id)

/**
 * Pins that an interrupted apply or destroy left. Those of another ABI do not count while the live generation has that
 * ABI; shared maps count if no generation is left to use them.
 */
export function leftovers(paths: Paths, instance: Instance, committed: Generation | undefined): string[] {
  const generations = [...instance.incomplete, ...instance.generations.map(({ number }) => number)]
  const pending = pendingOf(instance, committed)
  const needed = [committed?.number, pending?.previous]
  const others = instance.others.filter((name) => !isKept(name, pending))
  return [
    ...generations.filter((number) => !needed.includes(number)).map((number) => paths.generation(number)),
    ...(committed?.hasCarry ? [paths.carry(committed.number)] : []),
    ...(committed && !committed.meta ? [] : others.map((name) => `${paths.instance}/${name}`)),
    ...(generations.length === 0 && instance.missing.length < SHARED_MAPS.length ? [paths.shared] : []),
  ]
}
