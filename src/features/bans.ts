// Bans: dynamic entries that are not part of the config, in a hash map that outlives generations.
// src/kernel/live/bans.ts writes them.

import { shownMap, valueView } from '../abi/answer.ts'
import { bpftool, keyBytes, type Part, plainRun } from '../abi/command.ts'
import { type BanState, banCodec, banKeyCodec, banStateCodec, BANS as CAPACITY } from '../abi/generated.ts'
import { arrayMap, NO_PREALLOC, type Paths } from '../abi/paths.ts'
import { type Feature, gauges, type Readable } from './feature.ts'

/** Number of bans in force, and the capacity of their map. */
export interface BanCount {
  readonly live: number
  readonly capacity: number
}

/** Facts that every observation reads. */
export interface BanFacts {
  /** No ban ends before this boot time in ns; 0 = none will end. */
  readonly nextExpiry: bigint
}

const maps = {
  bans: {
    name: 'bans',
    type: 'hash',
    keySize: banKeyCodec.size,
    valueSize: banCodec.size,
    entries: CAPACITY,
    flags: NO_PREALLOC,
  },
  state: arrayMap('ban_state', banStateCodec.size, 1),
} as const
const programs = { write: 'ban_write', sweep: 'ban_sweep', count: 'ban_count' } as const

export const BANS = {
  name: 'bans',
  maps,
  programs,
  reasons: ['ban'],
  needs: [],
  observe: ({ paths, present }: Readable): Part<BanFacts> | undefined =>
    present.includes(maps.state)
      ? { commands: [lookUpState(paths)], finish: ([output]) => ({ nextExpiry: stateOf(output).next_expiry }) }
      : undefined,
  gauges: gauges({
    rows: { bans: 'bans in force' },
    part: ({ paths, present, generation, programs: pinned }): Part<BanCount> | undefined => {
      const isReadable = pinned.has(programs.count) && present.includes(maps.bans) && present.includes(maps.state)
      return isReadable ? countPart(paths, generation) : undefined
    },
    fill: ({ live, capacity }) => [{ name: 'bans', used: live, capacity }],
  }),
  memory: { bans: [maps.bans] },
  metrics: [],
} as const satisfies Feature

const lookUpState = (paths: Paths) =>
  bpftool('map', 'lookup', 'pinned', paths.sharedMap(maps.state), 'key', ...keyBytes(0))

const stateOf = (output: unknown): BanState => banStateCodec.decode(valueView(banStateCodec.size)(output))

/** Makes the kernel update the state, and reads it. */
export const banStatePart = (paths: Paths, generation: number): Part<BanState> => ({
  commands: [plainRun(paths.program(generation, programs.count)), lookUpState(paths)],
  finish: ([, output]) => stateOf(output),
})

function countPart(paths: Paths, generation: number): Part<BanCount> {
  const state = banStatePart(paths, generation)
  return {
    commands: [...state.commands, bpftool('map', 'show', 'pinned', paths.sharedMap(maps.bans))],
    finish: (outputs) => {
      return { live: state.finish(outputs).live, capacity: shownMap(outputs[2]).max_entries }
    },
  }
}
