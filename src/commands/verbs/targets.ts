// --target: limits a plan to some objects.

import { fail } from '../../diagnostics.ts'
import type { Live, ObjectKey } from '../../model/live.ts'
import { nearest } from '../../model/nearest.ts'
import { sourcesList } from '../../model/rate-limit.ts'
import type { State } from '../../model/state.ts'
import type { Plan } from '../../plan/change.ts'

const KINDS = ['interface', 'blocklist', 'allowlist', 'rate_limit', 'service', 'policy', 'program'] as const
type TargetKind = (typeof KINDS)[number]

/** Names of all objects of a kind, in the file or in the kernel. */
function namesOf(kind: TargetKind, states: readonly State[]): string[] {
  if (kind === 'policy' || kind === 'program') return []
  if (kind === 'interface') return states.flatMap(({ interfaces }) => [...interfaces.keys()])
  if (kind === 'service') return states.flatMap(({ services }) => [...services.keys()])
  if (kind === 'rate_limit') return states.flatMap(({ rateLimits }) => [...(rateLimits?.keys() ?? [])])
  return states.flatMap(({ lists }) => [...lists.values()].filter((list) => list.kind === kind).map(({ name }) => name))
}

function unknownName(text: string, kind: TargetKind, name: string, known: readonly string[]) {
  const meant = nearest(name, known)
  const hint =
    meant !== undefined
      ? `did you mean ${kind}:${meant}?`
      : known.length > 0
        ? `names are ${[...new Set(known)].sort().slice(0, 8).join(', ')}`
        : `there is no ${kind}`
  return fail('E300', `--target ${text}: neither the file nor the kernel has a ${kind} "${name}"`, hint)
}

/** The keys of an object; a rate limit may have its sources in a list. */
function parseTarget(text: string, states: readonly State[]): readonly ObjectKey[] {
  const colon = text.indexOf(':')
  const word = colon < 0 ? text : text.slice(0, colon)
  const name = colon < 0 ? '' : text.slice(colon + 1)
  const kind = KINDS.find((candidate) => candidate === word)
  if (kind === undefined) {
    const meant = nearest(word, KINDS)
    const hint = meant === undefined ? `kinds are ${KINDS.join(', ')}` : `did you mean ${meant}?`
    throw fail('E300', `--target ${text}: "${word}" is not a kind of object`, hint)
  }
  if (kind === 'policy' || kind === 'program') {
    if (name !== '') throw fail('E300', `--target ${text}: there is only one ${kind}`, `write --target ${kind}`)
    return [kind]
  }
  if (name === '') throw fail('E300', `--target ${text} lacks the name of the ${kind}`, `write --target ${kind}:NAME`)
  const known = namesOf(kind, states)
  if (!known.includes(name)) throw unknownName(text, kind, name, known)
  if (kind === 'blocklist' || kind === 'allowlist') return [`list:${name}`]
  return kind === 'rate_limit' ? [`rate_limit:${name}`, `list:${sourcesList(name)}`] : [`${kind}:${name}`]
}

/**
 * Limits the plan to the targets; returns the whole plan without targets. Throws E300 for a target that is neither in
 * the file nor in the kernel, because an empty plan would look like "in sync".
 */
export function onlyTargets<T extends Pick<Plan, 'changes' | 'drift'>>(
  plan: T,
  targets: readonly string[],
  desired: State,
  live: Pick<Live, 'state'>,
): T {
  if (targets.length === 0) return plan
  const keys = new Set(targets.flatMap((text) => parseTarget(text, [desired, live.state])))
  return {
    ...plan,
    changes: plan.changes.filter(({ key }) => keys.has(key)),
    drift: plan.drift.filter(({ key }) => keys.has(key)),
  }
}
