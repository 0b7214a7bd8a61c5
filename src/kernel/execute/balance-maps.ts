// Lowering of the balancer's maps: each is handed on from the generation before, or made anew where that one has
// another size; what is counted and remembered goes along. Pure, as lower.ts.

import { bpftool, type Command, updateCommand } from '../../abi/command.ts'
import { backendCounterCodec, SNAT_PORTS, serviceCounterCodec } from '../../abi/generated.ts'
import {
  BALANCE_MAPS,
  type BalanceMap,
  type BalanceSizes,
  balanceMaps,
  type MapShape,
  mapWords,
  type Paths,
} from '../../abi/paths.ts'
import type { Slots } from '../../model/live.ts'
import type { Plan } from '../../plan/change.ts'
import type { Image } from '../../tables/layout/layout.ts'
import { balanceSizes } from '../../tables/services/balance.ts'
import type { Observation } from '../observe/observe.ts'
import type { Carrying } from './carry.ts'

export interface BalanceSteps {
  /** Make the maps of the new generation, or pin those of the old one once more. */
  readonly create: readonly Command[]
  /** `map name …` for the loading of the programs. */
  readonly words: readonly string[]
  /** What moves from maps that have become too small. */
  readonly carrying: readonly Carrying[]
  /** Counters of slots with a new owner, in maps that are handed on. */
  readonly zero: readonly Command[]
}

const MAPS = Object.keys(BALANCE_MAPS) as BalanceMap[]

/** Entries that a map has to have; those that are there may be more, but for flows, whose places depend on the number. */
const fits = (map: BalanceMap, entries: number, wanted: number): boolean =>
  map === 'flows' || wanted === 1 ? entries === wanted : entries >= wanted

interface MapStep {
  readonly map: BalanceMap
  readonly shape: MapShape
  readonly pin: string
  /** Pin of the map before, and its entries; undefined: there is none. */
  readonly before: { readonly pin: string; readonly entries: number } | undefined
  readonly isHandedOn: boolean
}

function mapSteps(paths: Paths, live: Observation, generation: number, sizes: BalanceSizes): MapStep[] {
  const shapes = balanceMaps(sizes)
  const committed = live.committed?.meta && live.committed
  return MAPS.map((map) => {
    const shape: MapShape = shapes[map]
    const known = committed?.balance.get(map)
    const before = committed && known && { pin: paths.balanceMap(committed.number, map), entries: known.entries }
    const isHandedOn = before !== undefined && fits(map, before.entries, shape.entries)
    return { map, shape, pin: paths.balanceMap(generation, map), before, isHandedOn }
  })
}

const handOn = (from: string, to: string): Command => bpftool('map', 'pin', 'pinned', from, to)

const create = ({ pin, shape, before, isHandedOn }: MapStep): Command =>
  isHandedOn && before ? handOn(before.pin, pin) : bpftool('map', 'create', pin, ...mapWords(shape))

type Slotted = 'services' | 'backends'

/** Slots whose owner is the same as before, or those of all others. */
function slotsThat(
  areKept: boolean,
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): number[] {
  const slots: number[] = []
  for (const [name, slot] of after) if ((before.get(name) === slot) === areKept) slots.push(slot)
  return slots
}

/** Slots whose owner stays the same. */
const kept = (kind: Slotted, before: Slots, after: Slots): number[] => slotsThat(true, before[kind], after[kind])

/** Slots that get an owner that they had not. */
export const fresh = (kind: Slotted, before: Slots, after: Slots): number[] =>
  slotsThat(false, before[kind], after[kind])

function carryingOf({ map, before, pin, shape, isHandedOn }: MapStep, old: Slots, now: Slots): Carrying[] {
  // A map of one entry belongs to a generation without services.
  if (isHandedOn || before === undefined || before.entries === 1 || shape.entries === 1) return []
  const both = { from: before.pin, to: pin }
  if (map === 'serviceStats') return [{ map, ...both, slots: kept('services', old, now) }]
  if (map === 'backendStats') return [{ map, ...both, slots: kept('backends', old, now) }]
  if (map === 'snatPorts' && now.pools.size > 0)
    return [{ map, ...both, lines: Math.min(before.entries, shape.entries, poolLines(now)) }]
  return []
}

const poolLines = ({ pools }: Slots): number => (Math.max(...pools.values()) + 1) * 2 * SNAT_PORTS

const COUNTED = {
  serviceStats: { kind: 'services', size: serviceCounterCodec.size },
  backendStats: { kind: 'backends', size: backendCounterCodec.size },
} as const

function zero({ map, isHandedOn, pin, shape }: MapStep, old: Slots, now: Slots): Command[] {
  if (!isHandedOn || shape.entries === 1 || (map !== 'serviceStats' && map !== 'backendStats')) return []
  const { kind, size } = COUNTED[map]
  return fresh(kind, old, now).map((slot) => updateCommand(pin, slot, new Uint8Array(size)))
}

/** The maps of the generation before, pinned once more: what most generations begin with. */
export function handOnSteps(paths: Paths, from: number, to: number): Pick<BalanceSteps, 'create' | 'words'> {
  const pin = (map: BalanceMap): string => paths.balanceMap(to, map)
  return {
    create: MAPS.map((map) => handOn(paths.balanceMap(from, map), pin(map))),
    words: wordsOf(MAPS.map((map) => ({ map, pin: pin(map) }))),
  }
}

/** Whether a generation with this image takes all maps of the one before. */
export const handsOnAll = (paths: Paths, live: Observation, image: Image): boolean =>
  mapSteps(paths, live, 0, balanceSizes(image)).every(({ isHandedOn }) => isHandedOn)

/** `map name …` of each map, for the loading of programs. */
const wordsOf = (maps: readonly Pick<MapStep, 'map' | 'pin'>[]): string[] =>
  maps.flatMap(({ map, pin }) => ['map', 'name', BALANCE_MAPS[map], 'pinned', pin])

/** What the balancer's maps of a new generation take. */
export function balanceSteps(
  paths: Paths,
  plan: Plan,
  live: Observation,
  target: { readonly generation: number; readonly image: Image },
): BalanceSteps {
  const steps = mapSteps(paths, live, target.generation, balanceSizes(target.image))
  return {
    create: steps.map(create),
    words: wordsOf(steps),
    carrying: steps.flatMap((step) => carryingOf(step, live.slots, plan.slots)),
    zero: steps.flatMap((step) => zero(step, live.slots, plan.slots)),
  }
}
