// The heart of the planner: two states → the changes between them. This room turns (desired, live) into a Plan and does
// nothing else: it reads no clock, no environment and no kernel, and never waits. Equal inputs always give equal plans,
// whatever the insertion order of their maps.

import type { Link, Live, ObjectKey } from '../model/live.ts'
import { changedSettings, type Policy, settingOf } from '../model/policy.ts'
import { type RateLimit, rateLimitKey, sourcesList } from '../model/rate-limit.ts'
import { type Attachment, type List, type Program, type State, scopeKey } from '../model/state.ts'
import { attachImpact, displaceImpact, driftOf, foreignPrograms, ownAttachments } from './attachments.ts'
import { sameChain } from './chain.ts'
import type { Change, ChangeReason } from './change.ts'
import { listDelta } from './delta.ts'
import { inFormOf } from './rate-forms.ts'
import { diffService } from './services.ts'

type Step<T> =
  | { readonly op: 'create'; readonly before: undefined; readonly after: T }
  | { readonly op: 'update'; readonly before: T; readonly after: T }
  | { readonly op: 'delete'; readonly before: T; readonly after: undefined }

/** The operation that turns one object into the other; undefined if they are equal. */
function step<T extends object>(
  before: T | undefined,
  after: T | undefined,
  unchanged: (before: T, after: T) => boolean,
): Step<T> | undefined {
  if (before === undefined) return after === undefined ? undefined : { op: 'create', before, after }
  if (after === undefined) return { op: 'delete', before, after }
  return unchanged(before, after) ? undefined : { op: 'update', before, after }
}

function reasonOf(op: Step<unknown>['op'], drifted: boolean): ChangeReason {
  if (op === 'delete') return 'not-in-config'
  if (drifted) return 'drift'
  return op === 'create' ? 'new-in-config' : 'config-changed'
}

function diffProgram(before: Program | undefined, after: Program | undefined, drifted: boolean): Change[] {
  const made = step(before, after, (left, right) => left.digest === right.digest && left.abi === right.abi && !drifted)
  if (made === undefined) return []
  const common = { kind: 'program', key: 'program', impact: 'hitless' } as const
  if (made.op !== 'update') return [{ ...common, ...made, reason: reasonOf(made.op, drifted) }]
  // Maps of a different ABI cannot be kept: apply rebuilds the program with all its tables, then switches to them.
  const op = made.before.abi === made.after.abi ? 'update' : 'replace'
  return [{ ...common, ...made, op, reason: made.before.digest === made.after.digest ? 'drift' : 'program-changed' }]
}

function diffPolicy(before: Policy | undefined, after: Policy | undefined, drifted: boolean): Change[] {
  const made = step(before, after, (left, right) => changedSettings(left, right).length === 0 && !drifted)
  if (made === undefined) return []
  const changed = made.op === 'update' ? changedSettings(made.before, made.after) : []
  const impact = changed.some((name) => settingOf(name).impact === 'new-flows') ? 'new-flows' : 'hitless'
  return [{ kind: 'policy', key: 'policy', impact, ...made, reason: reasonOf(made.op, drifted) }]
}

function diffList(name: string, before: List | undefined, after: List | undefined, drifted: boolean): Change[] {
  const delta = listDelta(before, after)
  const made = step(before, after, (left, right) => left.kind === right.kind && delta.length === 0 && !drifted)
  if (made === undefined) return []
  const reason = reasonOf(made.op, drifted)
  return [{ kind: 'list', key: `list:${name}`, impact: 'hitless', ...made, reason, delta }]
}

const keyOf = (limit: RateLimit): string => rateLimitKey(limit, scopeKey(limit.scope))

function diffRateLimit(
  name: string,
  before: RateLimit | undefined,
  after: RateLimit | undefined,
  drifted: boolean,
): Change[] {
  const made = step(before, after, (left, right) => keyOf(left) === keyOf(right) && !drifted)
  if (made === undefined) return []
  return [
    { kind: 'rate_limit', key: `rate_limit:${name}`, impact: 'hitless', ...made, reason: reasonOf(made.op, drifted) },
  ]
}

const sameRoles = (left: Attachment, right: Attachment): boolean => left.roles.join() === right.roles.join()

function diffInterface(
  name: string,
  before: Attachment | undefined,
  after: Attachment | undefined,
  link: Link | undefined,
  drifted: boolean,
): Change[] {
  const foreign = after === undefined ? [] : foreignPrograms(link)
  const displaces = foreign.filter(({ id }) => id !== after?.chain?.id)
  const inSync = (left: Attachment, right: Attachment): boolean =>
    left.modes.every((mode) => right.modes.includes(mode)) &&
    sameRoles(left, right) &&
    sameChain(left, right) &&
    foreign.length === 0 &&
    !drifted
  const made = step(before, after, inSync)
  if (made === undefined) return []
  const common = {
    kind: 'interface',
    key: `interface:${name}`,
    ...(displaces.length > 0 ? { displaces } : {}),
  } as const
  if (made.op === 'update') {
    if (!made.before.modes.every((mode) => made.after.modes.includes(mode)))
      return [{ ...common, ...made, op: 'replace', impact: 'traffic-gap', reason: 'mode-changed' }]
    const impact = foreign.length > 0 ? displaceImpact(foreign, made.before.modes) : 'hitless'
    return [{ ...common, ...made, impact, reason: reasonOf('update', drifted) }]
  }
  const modes = (made.after ?? made.before).modes
  // A program that was there before takes the place of ours, or ours that of it, in one operation of the kernel.
  const isSwap = after === undefined && before?.chain !== undefined
  const impact = isSwap ? 'hitless' : foreign.length > 0 ? displaceImpact(foreign, modes) : attachImpact(link, modes)
  return [{ ...common, ...made, impact, reason: reasonOf(made.op, drifted) }]
}

const NONE: ReadonlyMap<string, RateLimit> = new Map()

function both<T>(left: ReadonlyMap<string, T>, right: ReadonlyMap<string, T>): string[] {
  return [...new Set([...left.keys(), ...right.keys()])].sort()
}

/**
 * Every change that turns the live state into the desired one, in no particular order (see `order`). An interface is in
 * sync if its live mode is any of the desired ones. A drifted object is always written again, even if it drifted to the
 * desired value, so that the record of the last apply is right afterwards. Empty if and only if the two states are
 * equal and nothing drifted.
 */
export function diff(desired: State, live: Live): Change[] {
  const state = { ...live.state, interfaces: ownAttachments(live) }
  return diffStates(state, desired, driftOf(live), live.links)
}

/** Every change that turns one state into the other; `drift` and `links` of the first one, if it is live. */
export function diffStates(
  state: State,
  desired: State,
  drift: ReadonlyMap<ObjectKey, string> = new Map(),
  links: ReadonlyMap<string, Link> = new Map(),
): Change[] {
  const interfaces = both(desired.interfaces, state.interfaces).flatMap((name) => {
    const after = desired.interfaces.get(name)
    return diffInterface(name, state.interfaces.get(name), after, links.get(name), drift.has(`interface:${name}`))
  })
  const isDrifted = (name: string): boolean => drift.has(`rate_limit:${name}`) || drift.has(`list:${sourcesList(name)}`)
  const formed = inFormOf(state, desired, isDrifted)
  const lists = both(formed.lists, state.lists).flatMap((name) =>
    diffList(name, state.lists.get(name), formed.lists.get(name), drift.has(`list:${name}`)),
  )
  const [wanted, present] = [formed.rateLimits ?? NONE, state.rateLimits ?? NONE]
  const rateLimits = both(wanted, present).flatMap((name) =>
    diffRateLimit(name, present.get(name), wanted.get(name), drift.has(`rate_limit:${name}`)),
  )
  const services = both(desired.services, state.services).flatMap((name) =>
    diffService(name, state.services.get(name), desired.services.get(name), drift.has(`service:${name}`)),
  )
  return [
    ...diffProgram(state.program, desired.program, drift.has('program')),
    ...diffPolicy(state.policy, desired.policy, drift.has('policy')),
    ...lists,
    ...rateLimits,
    ...services,
    ...interfaces,
  ]
}
