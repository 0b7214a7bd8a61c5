// Generations in force without all of their pins. An interface keeps its program loaded, and the program its maps, so the
// kernel still knows those objects by their ids; the other programs of the generation are gone with their pins. Reads
// more than observation usually does, but only while pins are missing.

import { type ShapeOf, shownMap, shownProgram } from '../../abi/answer.ts'
import { bpftool, type Command } from '../../abi/command.ts'
import type { LostPin } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { OWN_MAPS } from '../../features/features.ts'
import { FILTER } from '../../features/filter.ts'
import { effectiveCapabilities, mayOpenForeign } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { askBatch } from '../tools/bpftool.ts'

/** The pins of one generation, complete or not. */
export interface GenerationPins {
  readonly number: number
  readonly programs: ReadonlySet<string>
  readonly hasPolicy: boolean
  /** Names of maps beside the policy. */
  readonly ownMaps: readonly string[]
  readonly hasCarry: boolean
  /** Its objects that are not pinned but still in the kernel. */
  readonly lost: readonly LostPin[]
}

type ShownProgram = ShapeOf<typeof shownProgram>
type ShownMap = ShapeOf<typeof shownMap>

const { filter } = FILTER.programs

/** Ids of the programs on interfaces that may be ours, by the name that the kernel reports. */
async function attachedFilters(): Promise<number[]> {
  const programs = [...(await readLinks()).values()].flatMap((link) => link.programs)
  return [...new Set(programs.filter(({ name }) => name === filter).map(({ id }) => id))]
}

const showAll = async <T>(shape: (value: unknown) => T, commands: readonly Command[]): Promise<T[]> =>
  commands.length === 0 ? [] : askBatch(shape, commands)

/** A program of a generation that is pinned: its filter, if possible. */
const pinnedProgram = ({ programs }: GenerationPins): string | undefined =>
  programs.has(filter) ? filter : [...programs][0]

/** Whether the kernel can find everything of a generation without ids. */
const needsNoIds = ({ programs, hasPolicy, ownMaps }: GenerationPins): boolean =>
  programs.has(filter) && hasPolicy && ownMaps.length === OWN_MAPS.length

/** The attached programs with their maps. Empty without permission to open objects by their ids. */
async function openAttached(
  ids: readonly number[],
): Promise<{ programs: ShownProgram[]; maps: Map<number, ShownMap> }> {
  if (!mayOpenForeign(await effectiveCapabilities())) return { programs: [], maps: new Map() }
  const programs = await showAll(
    shownProgram,
    ids.map((id) => bpftool('prog', 'show', 'id', `${id}`)),
  )
  const mapIds = [...new Set(programs.flatMap(({ map_ids = [] }) => map_ids))]
  const maps = await showAll(
    shownMap,
    mapIds.map((id) => bpftool('map', 'show', 'id', `${id}`)),
  )
  return { programs, maps: new Map(maps.map((map) => [map.id, map])) }
}

/**
 * The generations among these that an interface runs, each with the objects that lost their pins. Without permission to
 * open objects by their ids, only those whose filter is pinned.
 */
export async function inForce(paths: Paths, partial: readonly GenerationPins[]): Promise<GenerationPins[]> {
  if (partial.length === 0) return []
  const attached = await attachedFilters()
  if (attached.length === 0) return []
  const known = partial.filter((pins) => pinnedProgram(pins) !== undefined)
  const shown = await showAll(
    shownProgram,
    known.map((pins) => bpftool('prog', 'show', 'pinned', paths.program(pins.number, pinnedProgram(pins) as string))),
  )
  const open = partial.every(needsNoIds) ? undefined : await openAttached(attached)
  const policies = await showAll(
    shownMap,
    partial
      .filter(({ hasPolicy }) => hasPolicy)
      .map(({ number }) => bpftool('map', 'show', 'pinned', paths.policy(number))),
  )
  const policyIds = new Map(
    partial.filter(({ hasPolicy }) => hasPolicy).map(({ number }, i) => [number, policies[i]?.id]),
  )
  return partial.flatMap((pins) => {
    const program = shown[known.indexOf(pins)]
    const mapNamed = (name: string, ids: readonly number[] = []): number | undefined =>
      ids.find((id) => open?.maps.get(id)?.name === name)
    const policy = policyIds.get(pins.number) ?? mapNamed('policy', program?.map_ids)
    const found = pins.programs.has(filter)
      ? program
      : open?.programs.find(({ map_ids = [] }) => policy !== undefined && map_ids.includes(policy))
    if (found === undefined || policy === undefined || !attached.includes(found.id)) return []
    const own = OWN_MAPS.filter((name) => !pins.ownMaps.includes(name)).flatMap((name) => {
      const id = mapNamed(name, found.map_ids)
      return id === undefined ? [] : [{ object: 'map', name, id, pin: paths.ownMap(pins.number, { name }) } as const]
    })
    const lost: LostPin[] = [
      ...(pins.hasPolicy
        ? []
        : [{ object: 'map', name: 'policy', id: policy, pin: paths.policy(pins.number) } as const]),
      ...own,
      ...(pins.programs.has(filter)
        ? []
        : [{ object: 'prog', name: filter, id: found.id, pin: paths.program(pins.number, filter) } as const]),
    ]
    return [{ ...pins, lost }]
  })
}
