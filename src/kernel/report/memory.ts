// The kernel memory of maps that outlive generations.

import { shownMap } from '../../abi/answer.ts'
import { bpftool, type Part } from '../../abi/command.ts'
import type { MapShape, Paths } from '../../abi/paths.ts'

/** Kernel memory of maps in bytes; kernels before 6.4 report rough numbers. */
export const memoryPart = (paths: Paths, maps: readonly MapShape[]): Part<Map<MapShape, number>> => ({
  commands: maps.map((map) => bpftool('map', 'show', 'pinned', paths.sharedMap(map))),
  finish: (outputs) => new Map(maps.map((map, i) => [map, shownMap(outputs[i]).bytes_memlock ?? 0])),
})
