// Chains, where the first matching rule decides → lists, where an allowlist always beats a blocklist. A packet must pass
// every chain.
//
// The lists drop no packet that the chains let pass. A rule that lets packets pass, or may do so, and stands before a
// drop of them becomes an allowlist entry, or the drop loses them. The entry loses what an earlier rule or another
// chain drops. Where no list can express such a difference, more packets pass than in the source, and the import
// reports that.

import type { Diagnostic } from '../diagnostics.ts'
import type { Family } from '../model/address.ts'
import type { AnomalyName } from '../model/anomaly.ts'
import type { DefaultVerdict, Established } from '../model/policy.ts'
import { EVERY } from './addresses.ts'
import { withAnomalies } from './anomalies.ts'
import { ANY_BOX } from './boxes.ts'
import { Groups } from './groups.ts'
import { dropsWithout, type Lane, laneOf, type Step } from './lanes.ts'
import { countedPart, Limits } from './limits.ts'
import { commonPart, isPlace, meets, minusAll, type Part, PartSets } from './parts.ts'
import { type Chain, Notes, type Rule } from './rules.ts'
import { anyTraffic } from './scopes.ts'
import { type ImportedLimit, type ImportedList, leftOut, type Place, widened } from './source.ts'

/** All chains as one family sees them. */
interface Scene {
  readonly family: Family
  readonly lanes: readonly Lane[]
  /** The chain that drops by default. */
  readonly main: Lane | undefined
  /** Steps whose packets the drops behind them lose. All others that let packets pass become allowlist entries. */
  readonly cutting: Set<Step>
  /** Everything that the blocklists drop. */
  readonly blocked: PartSets
  /** Chains with drops in the blocklists. */
  readonly blocking: Set<Lane>
  /** Everything that the allowlists let pass. */
  readonly passed: PartSets
  readonly limits: Limits
}

function sceneOf(chains: readonly Chain[], family: Family, limits: Limits, notes: Notes): Scene {
  const own = chains.filter(({ families }) => families.includes(family))
  const lanes = own.map((chain) => laneOf(chain, family, notes))
  const main = lanes.findLast((lane) => lane.default === 'drop')
  const sets = { cutting: new Set<Step>(), blocked: new PartSets(), blocking: new Set<Lane>(), passed: new PartSets() }
  const scene: Scene = { family, lanes, main, ...sets, limits }
  // A step that cuts makes the sure drops smaller, and so other steps may cut too.
  for (let known = -1; known < scene.cutting.size; ) {
    known = scene.cutting.size
    const drops = new SureDrops(scene)
    for (const lane of lanes) choose(lane, scene, drops)
  }
  return scene
}

/** What the chains of a scene surely drop. */
class SureDrops {
  /**
   * For steps of the same chain: packets of an earlier allowlist entry need no second one, so they count as dropped.
   * Packets of a step that cuts do not.
   */
  readonly #own: ReadonlyMap<Lane, ReadonlyMap<Step, readonly Part[]>>
  /** For steps of other chains: what the chain drops and lets pass nowhere. */
  readonly #sure: ReadonlyMap<Lane, PartSets>
  /** As `#sure`, of known connections too. */
  readonly #known: ReadonlyMap<Lane, PartSets>
  readonly #most: ReadonlyMap<Lane, PartSets>

  constructor({ lanes, cutting }: Scene) {
    const sets = (lane: Lane, passes: (step: Step) => boolean, spared = true): PartSets => {
      const drops = new PartSets()
      for (const [{ rule }, parts] of dropsWithout(lane, passes))
        if ((spared || !rule.spares) && rule.rate === undefined) for (const part of parts) drops.add(part, rule.place)
      return drops
    }
    this.#own = new Map(lanes.map((lane) => [lane, dropsWithout(lane, (step) => cutting.has(step))]))
    this.#sure = new Map(lanes.map((lane) => [lane, sets(lane, () => true)]))
    this.#known = new Map(lanes.map((lane) => [lane, sets(lane, () => true, false)]))
    this.#most = new Map(lanes.map((lane) => [lane, sets(lane, () => false)]))
  }

  /** The place of a rule of another chain that may drop some of the packets. */
  overridden(lane: Lane, part: Part): Place | undefined {
    for (const [other, drops] of this.#most) {
      const place = other === lane ? undefined : drops.meeting(part)
      if (place !== undefined) return place
    }
    return undefined
  }

  /** Calls `visit` for each step that lets packets pass, with a function that takes what is surely dropped out of them. */
  walk(lane: Lane, visit: (step: Step, index: number, outside: (part: Part) => readonly Part[] | Place) => void): void {
    const before = new PartSets()
    const outside = (part: Part, others: ReadonlyMap<Lane, PartSets>): readonly Part[] | Place => {
      let rest = before.outside([part])
      for (const [other, drops] of others) if (other !== lane && !isPlace(rest)) rest = drops.outside(rest)
      return rest
    }
    for (const [index, step] of lane.steps.entries()) {
      // Packets that another chain drops unless they are known would meet the drops behind the step as known ones.
      const others = sparesBehind(lane, index) ? this.#sure : this.#known
      if (step.rule.kind === 'allowlist') visit(step, index, (part) => outside(part, others))
      else if (step.rule.rate === undefined)
        for (const part of this.#own.get(lane)?.get(step) ?? []) before.add(part, step.rule.place)
    }
  }
}

/** Whether all drops behind a step that share packets with it, and the default, spare known connections. */
const sparesBehind = (lane: Lane, index: number): boolean =>
  (lane.default === 'pass' || lane.chain.spares) && behind(lane, index).every(({ rule }) => rule.spares)

/** The drops behind a step that share packets with it. */
const behind = ({ steps }: Lane, index: number): readonly Step[] => {
  const own = steps[index]?.parts ?? []
  return steps
    .slice(index + 1)
    .filter(({ rule, parts }) => rule.kind === 'blocklist' && parts.some((one) => own.some((part) => meets(one, part))))
}

/** Adds the steps that must cut: an allowlist entry for their packets would be wrong, or is not needed. */
function choose(lane: Lane, { main, cutting, lanes }: Scene, drops: SureDrops): void {
  drops.walk(lane, (step, index, outside) => {
    if (cutting.has(step) || main === lane) return
    // An allowlist entry would let the packets pass the chain that drops by default.
    const overrides = main !== undefined
    const exactly = (): boolean => behind(lane, index).every(({ parts }) => minusAll(parts, step.parts).exact)
    const unneeded = (): boolean => step.why !== undefined && exactly()
    const impossible = (): boolean => step.parts.some((part) => isPlace(outside(part)))
    if (overrides || unneeded() || impossible() || isSpared(lane, index, lanes)) cutting.add(step)
  })
}

/**
 * Whether another chain drops packets of the step, but not those of connections of this host, which a drop behind the step
 * would lose.
 */
function isSpared(lane: Lane, index: number, lanes: readonly Lane[]): boolean {
  const own = lane.steps[index]?.parts ?? []
  if (behind(lane, index).every(({ rule }) => rule.spares)) return false
  return lanes.some(
    (other) =>
      other !== lane &&
      other.steps.some(
        ({ rule, parts }) =>
          rule.kind === 'blocklist' && rule.spares && parts.some((one) => own.some((part) => meets(one, part))),
      ),
  )
}

/** Adds the lists of one chain. */
function write(lane: Lane, scene: Scene, groups: Groups, notes: Notes): void {
  const cuts = new Map<Step, Step[]>()
  const passes = new Map<Step, readonly (readonly Part[] | Place)[]>()
  const drops = new SureDrops(scene)
  drops.walk(lane, (step, index, outside) => {
    if (!scene.cutting.has(step)) {
      passes.set(step, step.parts.map(outside))
      return
    }
    const later = behind(lane, index)
    for (const drop of later) cuts.set(drop, [...(cuts.get(drop) ?? []), step])
    if (later.length === 0 && step.why !== undefined) notes.add(leftOut, step.rule, `left out because ${step.why}`)
  })
  for (const step of lane.steps) {
    for (const [at, rest] of (passes.get(step) ?? []).entries())
      writePass(step, step.parts[at] as Part, rest, { lane, drops, groups, notes, passed: scene.passed })
    if (step.rule.kind === 'allowlist') continue
    for (const part of withoutCuts(step, cuts.get(step) ?? [], { lane, scene, notes })) {
      scene.blocking.add(lane)
      if (step.rule.rate !== undefined) {
        scene.limits.add(step.rule, countedPart(part, { rule: step.rule, chain: lane.chain }))
        continue
      }
      groups.add(step.rule, part)
      scene.blocked.add(part, step.rule.place)
    }
  }
}

interface Output {
  readonly lane: Lane
  readonly drops: SureDrops
  readonly groups: Groups
  readonly notes: Notes
  readonly passed: PartSets
}

/** Adds allowlist entries for a part, or for the `rest` of it that nothing drops. */
function writePass(
  { rule, why }: Step,
  part: Part,
  rest: readonly Part[] | Place,
  { lane, drops, groups, notes, passed }: Output,
): void {
  const own = isPlace(rest) ? [part] : rest
  for (const one of own) {
    groups.add(rule, one)
    passed.add(one, rule.place)
  }
  const overridden = isPlace(rest) ? rest : own.map((one) => drops.overridden(lane, one)).find(Boolean)
  if (overridden !== undefined) {
    const reason = 'because an allowlist beats every blocklist'
    notes.add(widened, rule, `also lets pass packets that ${overridden.text} drops, ${reason}`)
  }
  if (why !== undefined && !isPlace(rest) && own.length > 0)
    notes.add(widened, rule, `lets more packets pass than the rule because ${why}`)
}

interface Cutting {
  readonly lane: Lane
  readonly scene: Scene
  readonly notes: Notes
}

/** Drops beyond the rate of `by` its packets among the parts of a drop. Returns false if they may pass otherwise. */
function limit(drop: Step, parts: readonly Part[], by: Step, others: readonly Step[], cutting: Cutting): boolean {
  const { lane, scene } = cutting
  // Beyond the rate, the drop would spare known connections.
  if (drop.rule.rate !== undefined || drop.rule.spares !== by.rule.spares) return false
  const counted = parts.flatMap((part) => by.own.filter((one) => meets(part, one)).map((one) => commonPart(part, one)))
  const isAlone = others.every(
    (other) => other === by || !other.rule.rate || !other.parts.some((one) => counted.some((part) => meets(part, one))),
  )
  if (!isAlone) return false
  for (const part of counted) scene.limits.add(by.rule, countedPart(part, { rule: by.rule, chain: lane.chain }))
  return true
}

/** A drop without the packets of the steps that cut into it. Those of a rate stay as a limit. */
function withoutCuts(step: Step, cuts: readonly Step[], cutting: Cutting): readonly Part[] {
  const { rule, parts } = step
  let rest = parts
  // Whatever passes without a rate is no part of a limit.
  for (const by of cuts.toSorted((a, b) => Number(a.rule.rate !== undefined) - Number(b.rule.rate !== undefined))) {
    if (!rest.some((part) => by.parts.some((other) => meets(part, other)))) continue
    const isLimited = by.rule.rate !== undefined && limit(step, rest, by, cuts, cutting)
    const { parts: left, exact } = minusAll(rest, by.parts)
    rest = left
    const reason = (isLimited ? undefined : by.why) ?? (exact ? undefined : 'a list cannot express the rest')
    if (reason === undefined) continue
    const what = rest.length === 0 ? 'left out' : 'drops fewer packets'
    cutting.notes.add(widened, rule, `${what} because ${by.rule.place.text} may let them pass, and ${reason}`)
  }
  return rest
}

const passingRule = (family: Family, text: string): Rule => ({
  place: { text },
  text: '',
  kind: 'allowlist',
  addresses: undefined,
  traffic: anyTraffic([family]),
  list: undefined,
  comment: `IPv${family} passes by default`,
  objection: undefined,
  except: [],
})

/** The default verdict for both families. Under default drop, a family that passes gets an allowlist entry. */
function resolveDefault(scenes: readonly Scene[], groups: Groups, notes: Notes): DefaultVerdict {
  const dropping = scenes.filter(({ main }) => main !== undefined)
  if (dropping.length === 0) return 'pass'
  for (const { lanes, main } of dropping) {
    for (const { chain, default: verdict } of lanes.filter((lane) => lane !== main)) {
      const why = `its default drop is left out because ${main?.chain.place.text} has one too`
      if (verdict === 'drop') notes.add(widened, { place: chain.place, text: '' }, why)
    }
  }
  for (const { family, lanes, blocked } of scenes.filter(({ main }) => main === undefined)) {
    const rule = passingRule(family, lanes[0]?.chain.place.text ?? `no chain for IPv${family}`)
    const rest = blocked.outside([{ family, box: ANY_BOX, ranges: EVERY[family] }])
    if (isPlace(rest)) {
      const why = `its default drop is left out because IPv${family} passes by default, but ${rest.text} drops part of it`
      for (const { main } of dropping) notes.add(widened, { place: (main as Lane).chain.place, text: '' }, why)
      return 'pass'
    }
    for (const part of rest) groups.add(rule, part)
  }
  return 'drop'
}

export interface Resolved {
  readonly default: DefaultVerdict
  readonly established: Established
  readonly lists: readonly ImportedList[]
  readonly anomalies: readonly AnomalyName[]
  readonly limits: readonly ImportedLimit[]
  readonly leftOut: readonly Diagnostic[]
  /** Chains whose drops are in the lists or in the default. */
  readonly dropping: ReadonlySet<Chain>
}

/** Lists and a default that drop no packet that the chains let pass. */
export function resolveChains(chains: readonly Chain[]): Resolved {
  const [groups, notes] = [new Groups(), new Notes()]
  const limits = new Limits()
  const scenes = ([4, 6] as const).map((family) => sceneOf(chains, family, limits, notes))
  for (const scene of scenes) for (const lane of scene.lanes) write(lane, scene, groups, notes)
  const verdict = resolveDefault(scenes, groups, notes)
  const mains = verdict === 'drop' ? scenes.flatMap(({ main }) => (main === undefined ? [] : [main])) : []
  const established = mains.some(({ chain }) => chain.spares) ? 'pass' : 'judge'
  return {
    default: verdict,
    established,
    ...withAnomalies(groups.finish(established), established),
    limits: limits.finish(notes, (part) => scenes.find(({ family }) => family === part.family)?.passed.meeting(part)),
    leftOut: notes.all(),
    dropping: new Set([...scenes.flatMap(({ blocking }) => [...blocking]), ...mains].map(({ chain }) => chain)),
  }
}
