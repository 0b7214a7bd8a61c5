// Bans: dynamic entries that are not part of the config. Their table belongs to a generation, because its size is a
// setting, and the next one gets it handed on. If another size is wanted, the bans are carried over into a new table, and
// writers write into both as long as both generations exist (ADR 0077). src/kernel/live/ban-write.ts writes them.

import { shownMap, valueView } from '../abi/answer.ts'
import { bpftool, keyBytes, type Part, plainRun } from '../abi/command.ts'
import {
  BAN_WORDS_A_LINE,
  BAN_WORDS_SHIFT,
  type BanState,
  banCodec,
  banKeyCodec,
  banStateCodec,
  LINE_SIZE,
} from '../abi/generated.ts'
import { arrayMap, type MapShape, MMAPABLE, NO_PREALLOC, type Paths } from '../abi/paths.ts'
import { DEFAULT_POLICY } from '../model/policy.ts'
import type { Metric } from '../report/metric.ts'
import type { Count } from '../report/result.ts'
import { bansOf, type Image } from '../tables/layout/layout.ts'
import { type Feature, gauges, liveMap, type NewGeneration, type Readable } from './feature.ts'
import type { Step } from './step.ts'

/** Number of bans in force, and the capacity of their map. */
export interface BanCount {
  readonly live: number
  readonly capacity: number
  /** Packets that observed bans would have dropped. */
  readonly observed: Count
}

/** Facts that every observation reads. */
export interface BanFacts {
  /** No ban ends before this boot time in ns; 0 = none will end. */
  readonly nextExpiry: bigint
  /** Bans in the table, expired or not. */
  readonly entries: number
}

/** Names of the maps of a generation. */
export const BAN_MAPS = { bans: 'bans', state: 'ban_state', filter: 'ban_filter' } as const

/**
 * Maps of a generation for this many bans, a power of two. All three change together: the number of entries of the state
 * says to which table it belongs.
 */
export function banMaps(bans: number) {
  const lines = (2 * bans) / 2 ** BAN_WORDS_SHIFT / BAN_WORDS_A_LINE
  return {
    bans: {
      name: BAN_MAPS.bans,
      type: 'hash',
      keySize: banKeyCodec.size,
      valueSize: banCodec.size,
      entries: bans,
      flags: NO_PREALLOC,
    },
    state: arrayMap(BAN_MAPS.state, banStateCodec.size, bans === DEFAULT_POLICY.bans ? 1 : Math.log2(bans)),
    filter: arrayMap(BAN_MAPS.filter, LINE_SIZE, lines, MMAPABLE),
  } as const satisfies Record<string, MapShape>
}

/** The program that takes over bans, pinned only while a generation is built. */
export const CARRY_PROGRAM = 'ban_carry'

const programs = { write: 'ban_write', sweep: 'ban_sweep', count: 'ban_count' } as const

const counter = (name: Metric['name'], help: string, value: (observed: Count) => number): Metric => ({
  name,
  type: 'counter',
  help,
  labels: [],
  samples: ({ stats }) => (stats.observed_bans ? [[[], value(stats.observed_bans)]] : []),
})

export const BANS = {
  name: 'bans',
  maps: {},
  ownMaps: {
    names: Object.values(BAN_MAPS),
    shapes: (image: Pick<Image, 'settings'>) => Object.values(banMaps(bansOf(image.settings))),
    fits: ({ entries }: MapShape, existing: number): boolean => existing === entries,
  },
  programs,
  reasons: ['ban', 'ban-observed'],
  needs: [{ since: [5, 13], what: 'walks through a map (bpf_for_each_map_elem)' }],
  beside: (lowering: NewGeneration): Step[] => (carriesBans(lowering) ? [carryStep(lowering)] : [unpinStep(lowering)]),
  // Programs of the previous generation may have banned since the first time.
  switched: (lowering: NewGeneration): Step[] =>
    carriesBans(lowering) ? [carryStep(lowering), unpinStep(lowering)] : [],
  observe: ({ paths, generations }: Readable): Part<BanFacts> | undefined => {
    const [oldest] = generations.filter(({ ownMaps }) => ownMaps.includes(BAN_MAPS.state))
    return (
      oldest && {
        commands: [lookUpState(paths, oldest.number)],
        finish: ([output]) => {
          const { next_expiry, entries } = stateOf(output)
          return { nextExpiry: next_expiry, entries }
        },
      }
    )
  },
  gauges: gauges({
    rows: { bans: 'bans in force' },
    part: ({ paths, generation, programs: pinned }): Part<BanCount> | undefined => {
      return pinned.has(programs.count) ? countPart(paths, generation) : undefined
    },
    fill: ({ live, capacity }) => [{ name: 'bans', used: live, capacity }],
  }),
  ownMemory: { bans: Object.values(BAN_MAPS) },
  metrics: [
    counter(
      'xdp_ban_observed_packets_total',
      'Packets that observed bans would have dropped.',
      ({ packets }) => packets,
    ),
    counter('xdp_ban_observed_bytes_total', 'Bytes of these packets.', ({ bytes }) => bytes),
  ],
} as const satisfies Feature

/** The bans of the live generation that a new one takes over into maps of its own; undefined: it has the same maps. */
export function carriesBans({ paths, live, target }: NewGeneration): string | undefined {
  const before = liveMap(paths, live, BAN_MAPS.bans)
  const shapes = Object.values(banMaps(bansOf(target.image.settings)))
  return before && shapes.some(({ name, entries }) => liveMap(paths, live, name)?.entries !== entries)
    ? before.pin
    : undefined
}

const carryProgram = ({ paths, target }: NewGeneration): string => paths.program(target.generation, CARRY_PROGRAM)

const carryStep = (lowering: NewGeneration): Step => ({
  kind: 'carry-bans',
  program: carryProgram(lowering),
  size: bansOf(lowering.target.image.settings),
})

const unpinStep = (lowering: NewGeneration): Step => ({ kind: 'unpin', path: carryProgram(lowering) })

const lookUpState = (paths: Paths, generation: number) =>
  bpftool('map', 'lookup', 'pinned', paths.ownMap(generation, { name: BAN_MAPS.state }), 'key', ...keyBytes(0))

const stateOf = (output: unknown): BanState => banStateCodec.decode(valueView(banStateCodec.size)(output))

/** Makes the kernel update the state, and reads it. */
export const banStatePart = (paths: Paths, generation: number): Part<BanState> => ({
  commands: [plainRun(paths.program(generation, programs.count)), lookUpState(paths, generation)],
  finish: ([, output]) => stateOf(output),
})

function countPart(paths: Paths, generation: number): Part<BanCount> {
  const state = banStatePart(paths, generation)
  return {
    commands: [...state.commands, bpftool('map', 'show', 'pinned', paths.ownMap(generation, { name: BAN_MAPS.bans }))],
    finish: (outputs) => {
      const { live, observed_packets, observed_bytes } = state.finish(outputs)
      const observed = { packets: Number(observed_packets), bytes: Number(observed_bytes) }
      return { live, capacity: shownMap(outputs[2]).max_entries, observed }
    },
  }
}
