// Lowerings from one state to another, for tests of features and steps that need no kernel.

import type { Generation } from '../../src/abi/instance.ts'
import { pinPaths } from '../../src/abi/paths.ts'
import type { NewGeneration } from '../../src/features/feature.ts'
import { FEATURES, partsFor } from '../../src/features/features.ts'
import type { Slots } from '../../src/model/live.ts'
import type { State } from '../../src/model/state.ts'
import { assignSlots } from '../../src/plan/slots.ts'
import { compileImage } from '../../src/tables/image/image.ts'
import { makeObject } from './elf.ts'
import { slotsFor } from './slots.ts'
import { live } from './states.ts'

/** Objects without optional parts. */
const OBJECTS = ['xdp.bpf.o', 'explain.bpf.o'].map((path) => {
  return { path, content: makeObject({ code: [[0x95]], symbols: [{ name: '' }], relocations: [] }, true) }
})

export const PATHS = pinPaths('/fs', 'x')
const META = { generation: 2, netns: 0n, objectDigest: new Uint8Array(16) }

/** Lowers from generation 1, which holds `before`, to generation 2. Without `given`, names keep their slots. */
export function loweringBetween(before: State, after: State, given?: Slots): NewGeneration {
  const old = slotsFor(before)
  const slots = given ?? assignSlots(after, live({ slots: old }))
  const shapes = FEATURES.flatMap(
    ({ ownMaps }) => ownMaps?.shapes(compileImage({ state: before, slots: old, meta: META })) ?? [],
  )
  const committed = {
    number: 1,
    meta: META,
    unpinned: new Set(),
    lost: [],
    ownMaps: new Map(shapes.map(({ name, entries }) => [name, { entries, memory: 0 }])),
  } as unknown as Generation
  const instance = {
    generations: [committed],
    incomplete: [],
    others: [],
    missing: [],
    attachments: undefined,
    index: undefined,
    stacks: undefined,
    features: new Map(),
  }
  return {
    paths: PATHS,
    plan: { state: after, changes: [], drift: [], warnings: [], slots, leaving: [], deadlines: new Map() },
    live: { ...live({ state: before, slots: old }), committed, instance },
    target: {
      generation: 2,
      image: compileImage({ state: after, slots, meta: META }),
      rewrite: undefined,
      previous: undefined,
      objects: OBJECTS,
      parts: partsFor(after),
      carryObject: 'carry.bpf.o',
      kindsObject: 'kinds.bpf.o',
      isStaged: false,
      now: 1,
      keepsHealth: true,
      probes: [],
      confirmation: undefined,
    },
  }
}
