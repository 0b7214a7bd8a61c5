// Where our objects are pinned, and the shapes of maps. Everything we own lies below `<bpffs>/xdp-as-code/<instance>/`;
// libxdp, xdp-filter, tc and ip have their own directories, which we never touch. Paths contain no interface names,
// because bpffs refuses dots. Names of maps and programs are in the records of src/features.

import type { Confirmation } from '../model/confirmation.ts'
import { OWN_DIRECTORY } from './directory.ts'
import { ABI_VERSION, LINE_SIZE } from './generated.ts'

/** BPF_F_MMAPABLE page-aligns the content, so that a 64-byte line is one cache line. */
export const MMAPABLE = 0x400
/** BPF_F_NO_PREALLOC: elements are allocated when they are inserted. */
export const NO_PREALLOC = 1

/** Types of maps by their names in bpftool, with their numbers: linux/bpf.h enum bpf_map_type. */
export const MAP_TYPES = {
  hash: 1,
  array: 2,
  percpu_hash: 5,
  percpu_array: 6,
  lru_hash: 9,
  lru_percpu_hash: 10,
} as const

export interface MapShape {
  /** Name in the BPF object, and of the pin; 15 characters at most. */
  readonly name: string
  readonly type: keyof typeof MAP_TYPES
  /** Size of a key in bytes. */
  readonly keySize: number
  readonly valueSize: number
  readonly entries: number
  /** BPF_F_* of linux/bpf.h. */
  readonly flags: number
}

/** An array map with keys of 32 bits. */
export const arrayMap = (name: string, valueSize: number, entries: number, flags = 0): MapShape => ({
  name,
  type: 'array',
  keySize: 4,
  valueSize,
  entries,
  flags,
})

/** A per-CPU array map: each value exists once per CPU. */
export const perCpuMap = (name: string, valueSize: number, entries: number): MapShape => ({
  ...arrayMap(name, valueSize, entries),
  type: 'percpu_array',
})

/** Arguments of `bpftool map create PIN …` for a map. */
export function mapWords({ name, type, keySize, valueSize, entries, flags }: MapShape): string[] {
  const sizes = ['type', type, 'key', `${keySize}`, 'value', `${valueSize}`, 'entries', `${entries}`]
  return [...sizes, 'name', name, ...(flags ? ['flags', `0x${flags.toString(16)}`] : [])]
}

/** The map of one policy generation: `lines` lines of 64 bytes. */
export const policyMap = (lines: number): MapShape => arrayMap('policy', LINE_SIZE, lines, MMAPABLE)

/**
 * Builds that share maps must agree on their layout, so the directory carries the ABI version. A build of another
 * version creates a second directory; the old one is removed with the last generation that uses it.
 */
const SHARED = `shared-${ABI_VERSION}`

/** Directory of the programs that copy counters and ports to larger maps, while they run. */
export const CARRY = 'carry'

/** Directory of the programs behind ours, each named by the number of its interface, and of the map that calls them. */
const CHAIN = 'chain'

/** Directory of the programs that list bans while they run; beside the maps, where no apply takes it for a leftover. */
const LISTING = 'listing'

/** Directory of the programs and the map of health checks through VIPs, while a daemon makes such checks. */
const CHECKS = 'checks'

/** Pin paths of one instance. */
export interface Paths {
  /** Our directory in the bpffs, which holds all instances. */
  readonly root: string
  readonly instance: string
  readonly shared: string
  /** A map that outlives generations. */
  readonly sharedMap: (map: Pick<MapShape, 'name'>) => string
  readonly listing: string
  readonly checks: string
  readonly generation: (generation: number) => string
  readonly policy: (generation: number) => string
  /** A map of one generation beside its policy. */
  readonly ownMap: (generation: number, map: Pick<MapShape, 'name'>) => string
  readonly carry: (generation: number) => string
  /** Exists while there are programs behind ours. */
  readonly chain: (generation: number) => string
  readonly chainMap: (generation: number) => string
  readonly chained: (generation: number, ifindex: number) => string
  /** The marker of a pending confirmation: an empty directory, whose name says everything. */
  readonly confirmation: (confirmation: Confirmation) => string
  readonly programs: (generation: number) => string
  /** `program`: the name of its function. */
  readonly program: (generation: number, program: string) => string
}

export function pinPaths(bpffs: string, instance: string): Paths {
  const root = `${bpffs}/${OWN_DIRECTORY}`
  const own = `${root}/${instance}`
  const generation = (n: number): string => `${own}/gen-${n}`
  return {
    root,
    instance: own,
    shared: `${own}/${SHARED}`,
    sharedMap: ({ name }) => `${own}/${SHARED}/${name}`,
    listing: `${own}/${SHARED}/${LISTING}`,
    checks: `${own}/${SHARED}/${CHECKS}`,
    generation,
    policy: (n) => `${generation(n)}/policy`,
    ownMap: (n, { name }) => `${generation(n)}/${name}`,
    carry: (n) => `${generation(n)}/${CARRY}`,
    chain: (n) => `${generation(n)}/${CHAIN}`,
    chainMap: (n) => `${generation(n)}/${CHAIN}/programs`,
    chained: (n, ifindex) => `${generation(n)}/${CHAIN}/${ifindex}`,
    confirmation: ({ generation: n, previous, id }) => `${own}/confirm-${n}-${previous}-${id}`,
    programs: (n) => `${generation(n)}/programs`,
    program: (n, program) => `${generation(n)}/programs/${program}`,
  }
}

/** The generation number in a directory name; undefined for other names. */
export function generationOf(directory: string): number | undefined {
  const match = /^gen-([1-9]\d{0,14})$/.exec(directory)
  return match ? Number(match[1]) : undefined
}

/** The pending confirmation that a directory name marks; undefined for other names. */
export function confirmationOf(directory: string): Confirmation | undefined {
  const match = /^confirm-([1-9]\d{0,14})-(0|[1-9]\d{0,14})-([0-9a-f]{8})$/.exec(directory)
  if (!match) return undefined
  const [, generation, previous, id] = match
  return { id: id as string, generation: Number(generation), previous: Number(previous) }
}

/** The link to the pin by which its owner keeps a program, beside our pin of it. */
export const ownerPin = (chained: string): string => `${chained}-owner`

/** The interface that a name in the directory of a chain belongs to; undefined for other names. */
export function chainedOn(name: string): number | undefined {
  return /^[1-9]\d{0,9}$/.test(name) ? Number(name) : undefined
}

/** Whether a name is that of the pin of a foreign program that an apply replaced. */
export const isForeignPin = (name: string): boolean => /^foreign-\d+$/.test(name)
