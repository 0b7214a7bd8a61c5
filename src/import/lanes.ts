// A chain as one family sees it: its rules as parts, apart from packets that left the chain before.

import type { Family } from '../model/address.ts'
import type { DefaultVerdict } from '../model/policy.ts'
import { equals } from '../model/ranges.ts'
import { EVERY } from './addresses.ts'
import { isAnyBox } from './boxes.ts'
import { dropsFragments, losesFragments, onDatagrams, withAllFragments, withoutFragments } from './fragments.ts'
import { meets, minus, minusAll, type Part, PartSets, partsOf } from './parts.ts'
import type { Chain, Exception, Notes, Rule } from './rules.ts'
import { leftOut, widened } from './source.ts'

/** A rule in a lane. */
export interface Step {
  readonly rule: Rule
  /** What it drops at most, or lets pass at least. */
  readonly parts: readonly Part[]
  /** The parts without what a chain makes of them for fragments. */
  readonly own: readonly Part[]
  /** Why the parts of an allowlist rule may hold packets that it does not let pass; undefined if they hold none. */
  readonly why: string | undefined
}

export interface Lane {
  readonly chain: Chain
  readonly default: DefaultVerdict
  readonly steps: readonly Step[]
}

/** A drop, without the packets that may have left the chain. */
function dropStep(rule: Rule, family: Family, notes: Notes): Step {
  let parts = partsOf(rule, family)
  for (const { place, match, objection } of rule.except) {
    const others = partsOf(match, family)
    const gone = parts.some((part) => others.some((other) => meets(part, other)))
    const rest = minusAll(parts, others)
    const reason = objection ?? (rest.exact ? undefined : 'a list cannot express the rest')
    if (gone && reason !== undefined)
      notes.add(widened, rule, `drops fewer packets because some leave its chain at ${place.text}, and ${reason}`)
    parts = rest.parts
  }
  return { rule, parts, own: parts, why: undefined }
}

/** The parts without an exception, as far as boxes can express it. */
function withoutException(parts: readonly Part[], { match, objection }: Exception, family: Family): readonly Part[] {
  if (objection !== undefined) return parts
  return partsOf(match, family).reduce<readonly Part[]>(
    (rest, other) =>
      rest.flatMap((part) => {
        const { parts: left, exact } = minus(part, other)
        return exact ? left : [part]
      }),
    parts,
  )
}

/** A rule that lets packets pass, with every packet that it may let pass. */
function passStep(rule: Rule, family: Family): Step {
  let parts = partsOf(rule, family)
  let why = rule.objection
  for (const exception of rule.except) {
    parts = withoutException(parts, exception, family)
    const others = partsOf(exception.match, family)
    if (parts.some((part) => others.some((other) => meets(part, other))))
      why ??= `some of its packets leave its chain at ${exception.place.text}`
  }
  return { rule, parts, own: parts, why }
}

/** Where fragments are reassembled before the chain, ports decide about later fragments too. */
function withFragments(steps: readonly Step[], { default: verdict }: Pick<Chain, 'default'>): readonly Step[] {
  return steps.map((step, index) => {
    if (step.rule.kind === 'blocklist') return step
    const later = steps.slice(index + 1).filter(({ rule }) => rule.kind === 'blocklist')
    const needs = (part: Part): boolean =>
      losesFragments(part) &&
      (verdict === 'drop' || later.some((drop) => drop.parts.some((one) => dropsFragments(one, part, meets))))
    if (!step.parts.some(needs)) return step
    const widen = (part: Part): Part => (needs(part) ? withAllFragments(part) : part)
    const reason = 'it sees whole datagrams, whose later fragments have no ports for a list (or use --ignore fragments)'
    return { ...step, parts: step.parts.map(widen), why: step.why ?? reason }
  })
}

const isEverything = ({ family, box, ranges }: Part): boolean => isAnyBox(box) && equals(ranges, EVERY[family])

/** Drops without the fragments that they may not be for, with a note. */
function sparingFragments(steps: readonly Step[], chain: Chain, whole: boolean, notes: Notes): readonly Step[] {
  if (chain.ignoresFragments) return steps
  return steps.map((step) => {
    if (step.rule.kind !== 'blocklist' || step.rule.rate !== undefined) return step
    const parts = withoutFragments(step.parts, whole)
    const isLoss = parts.some((part, index) => part !== step.parts[index])
    const why = 'its drops by TCP flags, length, TTL or DSCP leave fragments alone (or use --ignore fragments)'
    if (isLoss) notes.add(widened, { place: chain.place, text: '' }, why)
    return { ...step, parts }
  })
}

/** Ends a chain where a rule that cannot be imported may let every packet pass. */
function endEarly(chain: Chain, steps: readonly Step[], notes: Notes): Pick<Lane, 'default' | 'steps'> {
  const end = steps.findIndex(({ why, parts }) => why !== undefined && parts.some(isEverything))
  const found = steps[end]
  const later = steps.slice(end + 1).filter(({ rule }) => rule.kind === 'blocklist')
  if (found === undefined || (later.length === 0 && chain.default === 'pass')) return { default: chain.default, steps }
  const { place } = found.rule
  notes.add(leftOut, found.rule, `left out because ${found.why}`)
  for (const { rule } of later) notes.add(widened, rule, `left out because ${place.text} may let these packets pass`)
  const why = `its default drop is left out because ${place.text} may let every packet pass: ${found.why}`
  if (chain.default === 'drop') notes.add(widened, { place: chain.place, text: '' }, why)
  return { default: 'pass', steps: steps.slice(0, end) }
}

/** The packets of drops, without those of the earlier steps that `passes` selects. */
export function dropsWithout({ steps }: Lane, passes: (step: Step) => boolean): ReadonlyMap<Step, readonly Part[]> {
  const drops = new Map<Step, readonly Part[]>()
  const passed = new PartSets()
  for (const step of steps) {
    if (step.rule.kind === 'blocklist') drops.set(step, passed.removeFrom(step.parts))
    else if (passes(step)) for (const part of step.parts) passed.add(part, step.rule.place)
  }
  return drops
}

/** A rule as the chain sees its packets. A note, if they are fragments, and the chain gets none. */
function asSeen(rule: Rule, whole: boolean, notes: Notes): Rule {
  if (!whole) return rule
  const seen = onDatagrams(rule)
  if (seen !== rule && seen.traffic.families.length === 0)
    notes.add(leftOut, rule, 'matches no packet, because the kernel puts fragments together before')
  const except = rule.except.map((one) => ({ ...one, match: onDatagrams(one.match) }))
  return { ...rule, traffic: seen.traffic, except }
}

export function laneOf(chain: Chain, family: Family, notes: Notes): Lane {
  const whole = chain.reassembled.includes(family)
  const all = chain.rules
    .map((rule) => asSeen(rule, whole, notes))
    .map((rule) => (rule.kind === 'blocklist' ? dropStep(rule, family, notes) : passStep(rule, family)))
  const filled = all.filter(({ parts }) => parts.length > 0)
  const ended = endEarly(chain, filled, notes)
  const spared = sparingFragments(ended.steps, chain, whole, notes)
  return { chain, default: ended.default, steps: whole ? withFragments(spared, ended) : spared }
}
