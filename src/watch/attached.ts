// The programs attached to the interfaces of the config. Comparing two readings shows whether a link event changed
// anything.

import type { Desired } from '../model/desired.ts'
import type { ObjectKey } from '../model/live.ts'
import type { Links } from '../pipelines/apply.ts'

/** By interface key. Interfaces that do not exist are absent. */
export type Attached = ReadonlyMap<ObjectKey, { readonly ifindex: number; readonly programs: string }>

export function attachedOf(links: Links, { state }: Desired): Attached {
  return new Map(
    [...state.interfaces.keys()].flatMap((name) => {
      const link = links.get(name)
      if (!link) return []
      const programs = link.programs.map(({ id, mode }) => `${mode} ${id}`).join()
      return [[`interface:${name}` as const, { ifindex: link.ifindex, programs }] as const]
    }),
  )
}

export const isSameAttached = (left: Attached, right: Attached): boolean =>
  left.size === right.size &&
  [...left].every(([key, { ifindex, programs }]) => {
    const other = right.get(key)
    return other?.ifindex === ifindex && other.programs === programs
  })
