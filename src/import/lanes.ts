// A chain as one family sees it: its rules as parts, apart from packets that left the chain before.

import type { Family } from '../model/address.ts'
import type { DefaultVerdict } from '../model/policy.ts'
import { equals, subtract } from '../model/ranges.ts'
import { EVERY } from './addresses.ts'
import { meets, minusAll, type Part, PartSets, partsOf } from './parts.ts'
import type { Chain, Exception, Notes, Rule } from './rules.ts'
import { coversScope, hasPorts } from './scopes.ts'
import { leftOut, widened } from './source.ts'

/** A rule in a lane. */
export interface Step {
  readonly rule: Rule
  /** What it drops at most, or lets pass at least. */
  readonly parts: readonly Part[]
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
  return { rule, parts, why: undefined }
}

/** The parts without an exception, as far as scopes can express it. */
function withoutException(parts: readonly Part[], { match, objection }: Exception, family: Family): readonly Part[] {
  if (objection !== undefined) return parts
  return partsOf(match, family).reduce<readonly Part[]>(
    (rest, other) =>
      rest
        .map((part) =>
          coversScope(other.scope, part.scope) ? { ...part, ranges: subtract(part.ranges, other.ranges) } : part,
        )
        .filter(({ ranges }) => ranges.length > 0),
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
  return { rule, parts, why }
}

/** Where fragments are reassembled before the chain, ports decide about later fragments too. */
function withFragments(steps: readonly Step[], { default: verdict }: Chain): readonly Step[] {
  const hits = (drop: Part, part: Part): boolean => !hasPorts(drop.scope) && meets(drop, part)
  return steps.map((step, index) => {
    if (step.rule.kind === 'blocklist') return step
    const later = steps.slice(index + 1).filter(({ rule }) => rule.kind === 'blocklist')
    const needs = (part: Part): boolean =>
      hasPorts(part.scope) && (verdict === 'drop' || later.some((drop) => drop.parts.some((one) => hits(one, part))))
    if (!step.parts.some(needs)) return step
    const widen = (part: Part): Part =>
      needs(part) ? { ...part, scope: { ...part.scope, sourcePorts: [], destinationPorts: [] } } : part
    const reason = 'it sees whole datagrams, whose later fragments have no ports for a list (or use --ignore fragments)'
    return { ...step, parts: step.parts.map(widen), why: step.why ?? reason }
  })
}

const isEverything = ({ family, scope, ranges }: Part): boolean =>
  scope.protocol === 'any' && equals(ranges, EVERY[family])

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

export function laneOf(chain: Chain, family: Family, notes: Notes): Lane {
  const all = chain.rules.map((rule) =>
    rule.kind === 'blocklist' ? dropStep(rule, family, notes) : passStep(rule, family),
  )
  const filled = all.filter(({ parts }) => parts.length > 0)
  const ended = endEarly(chain, filled, notes)
  const whole = chain.reassembled.includes(family)
  const steps = whole ? withFragments(ended.steps, { ...chain, default: ended.default }) : ended.steps
  return { chain, default: ended.default, steps }
}
