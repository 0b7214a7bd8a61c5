// Our attachments and foreign programs, as the links of the namespace show them.

import type { AttachedProgram, Link, Live, ObjectKey, ProgramOwner } from '../model/live.ts'
import { type AttachMode, type Attachment, EVERY_ROLE } from '../model/state.ts'
import type { Impact } from './change.ts'
import { hopDrift } from './next-hops.ts'

/** Foreign programs on the link. */
export const foreignPrograms = (link: Link | undefined): readonly AttachedProgram[] =>
  link?.programs.filter(({ generation }) => generation === undefined) ?? []

const ownProgram = (link: Link): AttachedProgram | undefined =>
  link.programs.find(({ generation }) => generation !== undefined)

/** `uid 0, held by pid 4321 (xdp-loader)`: the origin of a program, as a list of clauses. */
export function ownerText({ uid, holders }: ProgramOwner): string {
  const held = holders.map(({ pid, command }) => `pid ${pid}${command && ` (${command})`}`)
  return [
    ...(uid === undefined ? [] : [`by uid ${uid}`]),
    held.length > 0 ? `held by ${held.join(', ')}` : 'held by no process',
  ].join(', ')
}

/**
 * All our attachments: those of the live state, and those that a killed apply left on an interface before it could
 * commit. The latter must appear here, or no apply would ever detach them.
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
 * Objects that changed since the last apply by other means, each with a description. Observation reports most of them;
 * this adds interfaces that run a program of an uncommitted generation, and services whose next hops changed.
 */
export function driftOf(live: Live): ReadonlyMap<ObjectKey, string> {
  const drift = new Map(live.drift)
  for (const [name, link] of live.links) {
    const key: ObjectKey = `interface:${name}`
    const program = ownProgram(link)
    if (program === undefined || program.generation === live.generation || drift.has(key)) continue
    drift.set(key, `runs generation ${program.generation}, but ${live.generation || 'none'} is committed`)
  }
  for (const [name, service] of live.state.services) {
    const moved = drift.has(`service:${name}`) ? undefined : hopDrift(service, live)
    if (moved !== undefined) drift.set(`service:${name}`, moved)
  }
  return drift
}

/**
 * Impact of attaching a program to the link, or detaching it, in one of the modes. Drivers of physical cards may reset
 * their rings when native XDP is attached or detached; virtual devices do not.
 */
export function attachImpact(link: Link | undefined, modes: readonly AttachMode[]): Impact {
  const resets = link?.kind === 'physical' && modes.some((mode) => mode !== 'generic')
  return resets ? 'link-bounce' : 'hitless'
}

/**
 * Impact of replacing foreign programs by ours. In the same mode the kernel swaps the two. For a different mode the old
 * program must be detached first, because one interface cannot have a native and a generic program.
 */
export function displaceImpact(foreign: readonly AttachedProgram[], modes: readonly AttachMode[]): Impact {
  return foreign.every(({ mode }) => mode === modes[0]) ? 'hitless' : 'traffic-gap'
}
