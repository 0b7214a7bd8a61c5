// Makes the plan from the desired and the live state.

import type { Desired } from '../model/desired.ts'
import type { Live, Slots } from '../model/live.ts'
import { rateMemory } from '../model/rate-limit.ts'
import { asksSockets } from '../model/scope.ts'
import { EMPTY_STATE, type Program, type State } from '../model/state.ts'
import { withChain } from './chain.ts'
import type { Plan } from './change.ts'
import { diff } from './diff.ts'
import { PLAIN_TERMS, settle, type Terms } from './feeds.ts'
import { deadlinesOf, leavingOf } from './leaving.ts'
import { withNextHops } from './next-hops.ts'
import { driftList, withOrigins } from './origin.ts'
import { order } from './reading-order.ts'
import { assignSlots } from './slots.ts'
import { withPools } from './source-pools.ts'
import { warn } from './warn.ts'

/**
 * The desired state on this host: without interfaces that do not exist (`guard` has refused those that must), and with
 * the next hops, own addresses and local ports that the kernel knows.
 */
function stateOn(desired: Desired, live: Live, program: Program, lists: State['lists']): State {
  const present = [...desired.state.interfaces]
    .filter(([name]) => live.links.has(name))
    .map(([name, attachment]) => [name, withChain(attachment, desired, live)] as const)
  const services = withPools(withNextHops(desired.state.services, live), live)
  const state = { ...desired.state, program, interfaces: new Map(present), lists, services }
  return {
    ...state,
    localPorts: asksSockets(state) ? live.localPorts : undefined,
    receiveMax: state.policy?.syn_protection ? live.tcp?.receiveMax : undefined,
  }
}

const NONE: ReadonlyMap<string, never> = new Map<string, never>()

/** The memory of rate limits before and after, where it differs. */
function rateMemoryOf({ rateLimits }: State, { rates }: Slots, live: Live): Plan['rateMemory'] {
  const before = rateMemory(live.state.rateLimits ?? NONE, live.slots.rates ?? NONE)
  const after = rateMemory(rateLimits ?? NONE, rates ?? NONE)
  return before === after ? undefined : { before, after }
}

/** The plan from live to desired. `guard` decides whether it may be carried out. */
export function plan(desired: Desired, live: Live, program: Program, terms: Terms = PLAIN_TERMS): Plan {
  const { lists, warnings } = settle(desired, live, terms)
  const state = stateOn(desired, live, program, lists)
  const changes = withOrigins(order(diff(state, live)), live)
  const leaving = leavingOf(state, live)
  const slots = assignSlots(state, live, leaving)
  const memory = rateMemoryOf(state, slots, live)
  return {
    state,
    changes,
    drift: driftList(changes, live),
    warnings: [...warnings, ...warn(desired, state, live, changes)],
    slots,
    leaving,
    deadlines: deadlinesOf(state, live),
    ...(memory && { rateMemory: memory }),
  }
}

/** The plan that removes everything owned. */
export function planDestroy(live: Live): Plan {
  const changes = order(diff(EMPTY_STATE, live)).map((change) => ({ ...change, reason: 'destroy' as const }))
  const slots = assignSlots(EMPTY_STATE, live)
  return {
    state: EMPTY_STATE,
    changes,
    drift: driftList([], live),
    warnings: [],
    slots,
    leaving: [],
    deadlines: new Map(),
  }
}
