// What the links of the namespace say about our attachments and about the programs of others.

import type { AttachedProgram, Link, Live, ObjectKey } from '../model/live.ts'
import { type AttachMode, type Attachment, EVERY_ROLE } from '../model/state.ts'
import type { Impact } from './change.ts'
import { hopDrift } from './next-hops.ts'

/** Programs on the link that are not ours. */
export const foreignPrograms = (link: Link | undefined): readonly AttachedProgram[] =>
  link?.programs.filter(({ generation }) => generation === undefined) ?? []

const ownProgram = (link: Link): AttachedProgram | undefined =>
  link.programs.find(({ generation }) => generation !== undefined)

/**
 * Every attachment of ours: the live state's, and those that an apply which was killed left on an interface before
 * it could commit. The latter must be found here, or nothing would ever take them off again.
 */
export function ownAttachments(live: Live): ReadonlyMap<string, Attachment> {
  const attachments = new Map(live.state.interfaces)
  for (const [name, link] of live.links) {
    const program = ownProgram(link)
    if (program && !attachments.has(name))
      attachments.set(name, { interface: name, modes: [program.mode], roles: EVERY_ROLE })
  }
  return attachments
}

/**
 * Objects that moved since the last apply without it, with what happened. To what observation reports this adds the
 * interfaces on which a program of an uncommitted generation runs, and the services whose next hops are others now.
 */
export function driftOf(live: Live): ReadonlyMap<ObjectKey, string> {
  const drift = new Map(live.drift)
  for (const [name, link] of live.links) {
    const key: ObjectKey = `interface:${name}`
    const program = ownProgram(link)
    if (program === undefined || program.generation === live.generation || drift.has(key)) continue
    drift.set(key, `runs generation ${program.generation}, but ${live.generation || 'none'} is the committed one`)
  }
  for (const [name, service] of live.state.services) {
    const moved = drift.has(`service:${name}`) ? undefined : hopDrift(service, live)
    if (moved !== undefined) drift.set(`service:${name}`, moved)
  }
  return drift
}

/**
 * What traffic may notice when a program is attached to or taken off the link in one of the modes. Drivers of real
 * cards may reset their rings when native XDP comes or goes; virtual devices do not.
 */
export function attachImpact(link: Link | undefined, modes: readonly AttachMode[]): Impact {
  const resets = link?.kind === 'physical' && modes.some((mode) => mode !== 'generic')
  return resets ? 'link-bounce' : 'hitless'
}

/**
 * What traffic may notice when our program takes the place of others. In the same mode the kernel swaps the two; in
 * another mode the old one must go first, since native and generic programs cannot be on one interface together.
 */
export function displaceImpact(foreign: readonly AttachedProgram[], modes: readonly AttachMode[]): Impact {
  return foreign.every(({ mode }) => mode === modes[0]) ? 'hitless' : 'traffic-gap'
}
