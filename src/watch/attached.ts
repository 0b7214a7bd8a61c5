// The programs attached to the interfaces of the config, and the members of bonds among them. Comparing two readings
// shows whether a link event changed anything.

import type { Desired } from '../model/desired.ts'
import { membersOf } from '../model/link.ts'
import type { ObjectKey } from '../model/live.ts'
import { stackFor } from '../model/stack.ts'
import type { Links } from '../pipelines/apply.ts'

/** An interface: its program, and the members on which its packets arrive. */
interface Arrival {
  readonly ifindex: number
  readonly programs: string
  readonly members: string
  /** The MAC addresses of frames for this host, and the devices stacked on it. */
  readonly stack: string
}

/** By interface key. Interfaces that do not exist are absent. */
export type Attached = ReadonlyMap<ObjectKey, Arrival>

/** Whether packets of an interface arrive on the same devices, with the same addresses, in both readings. */
export const isSameDevice = (left: Arrival | undefined, right: Arrival | undefined): boolean =>
  left?.ifindex === right?.ifindex && left?.members === right?.members && left?.stack === right?.stack

export function attachedOf(links: Links, { state }: Desired): Attached {
  return new Map(
    [...state.interfaces.keys()].flatMap((name) => {
      const link = links.get(name)
      if (!link) return []
      const programs = link.programs.map(({ id, mode }) => `${mode} ${id}`).join()
      const members = membersOf(link, links)
        .map(({ ifindex }) => ifindex)
        .join()
      const { macs, above } = stackFor(state, name, links)
      const stack = [...macs, ...above].join()
      return [[`interface:${name}` as const, { ifindex: link.ifindex, programs, members, stack }] as const]
    }),
  )
}

export const isSameAttached = (left: Attached, right: Attached): boolean =>
  left.size === right.size &&
  [...left].every(([key, arrival]) => {
    const other = right.get(key)
    return isSameDevice(other, arrival) && other?.programs === arrival.programs
  })
