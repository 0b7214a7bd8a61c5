// Where our objects are pinned. Everything we own lies below `<bpffs>/xdp-as-code/<instance>/`; libxdp, xdp-filter, tc
// and ip have their own directories, which we never touch. Interface names are no part of a path: bpffs refuses dots.

import {
  ABI_VERSION,
  BANS,
  banCodec,
  banKeyCodec,
  banStateCodec,
  INTERFACE_INDEX_SIZE,
  INTERFACE_SLOTS,
  LINE_SIZE,
  LIST_SLOTS,
  REASON_SLOTS,
} from './generated.ts'

/** Programs of the object, by the names they are pinned under. */
export const PROGRAMS = {
  filter: 'xdp_filter',
  explain: 'explain',
  write: 'table_write',
  read: 'table_read',
  digest: 'table_digest',
  banWrite: 'ban_write',
  banSweep: 'ban_sweep',
  banCount: 'ban_count',
} as const

/** Runs while a generation is built, and is unpinned then because it holds the map of the one before. */
export const COPY_PROGRAM = 'table_copy'

/** Those that every build of this ABI has; the others came later. */
export const CORE_PROGRAMS = [
  'filter',
  'explain',
  'write',
  'read',
] as const satisfies readonly (keyof typeof PROGRAMS)[]

/** BPF_F_MMAPABLE page-aligns the content, so that a 64-byte line is one cache line. */
const MMAPABLE = 0x400
/** BPF_F_NO_PREALLOC: elements are made when they are needed. */
const NO_PREALLOC = 1

export interface MapShape {
  readonly name: string
  readonly type: 'array' | 'percpu_array' | 'hash'
  /** Bytes of a key. */
  readonly keySize: number
  readonly valueSize: number
  readonly entries: number
  readonly flags: number
}

/** Maps that outlive generations. An instance that an older build made may lack the later ones. */
export const SHARED_MAPS = {
  verdictStats: {
    name: 'verdict_stats',
    type: 'percpu_array',
    keySize: 4,
    valueSize: 16,
    entries: INTERFACE_SLOTS * REASON_SLOTS,
    flags: 0,
  },
  listStats: { name: 'list_stats', type: 'percpu_array', keySize: 4, valueSize: 16, entries: LIST_SLOTS, flags: 0 },
  interfaceIndex: {
    name: 'interface_index',
    type: 'array',
    keySize: 4,
    valueSize: 8,
    entries: INTERFACE_INDEX_SIZE,
    flags: 0,
  },
  attachments: { name: 'attachments', type: 'array', keySize: 4, valueSize: 32, entries: INTERFACE_SLOTS, flags: 0 },
  bans: {
    name: 'bans',
    type: 'hash',
    keySize: banKeyCodec.size,
    valueSize: banCodec.size,
    entries: BANS,
    flags: NO_PREALLOC,
  },
  banState: { name: 'ban_state', type: 'array', keySize: 4, valueSize: banStateCodec.size, entries: 1, flags: 0 },
} as const satisfies Record<string, MapShape>

export type SharedMap = keyof typeof SHARED_MAPS

/** Those that the programs use; `attachments` is the control plane's alone. */
export const PROGRAM_MAPS = [
  'verdictStats',
  'listStats',
  'interfaceIndex',
  'bans',
  'banState',
] as const satisfies readonly (keyof typeof SHARED_MAPS)[]

/** What follows `bpftool map create PIN` for a map. */
export function mapWords({ name, type, keySize, valueSize, entries, flags }: MapShape): string[] {
  const sizes = ['type', type, 'key', `${keySize}`, 'value', `${valueSize}`, 'entries', `${entries}`]
  return [...sizes, 'name', name, ...(flags ? ['flags', `0x${flags.toString(16)}`] : [])]
}

/** The map of one policy generation: `lines` lines of 64 bytes. */
export function policyMap(lines: number): MapShape {
  return { name: 'policy', type: 'array', keySize: 4, valueSize: LINE_SIZE, entries: lines, flags: MMAPABLE }
}

/**
 * Maps that two builds share have one layout, so their directory carries the ABI version: a build of another version
 * makes its own beside it and the old one goes with the last generation that uses it.
 */
const SHARED = `shared-${ABI_VERSION}`

/** Pin paths of one instance. */
export interface Paths {
  /** Our directory in the bpffs, above all instances. */
  readonly root: string
  readonly instance: string
  readonly shared: string
  readonly sharedMap: (map: SharedMap) => string
  readonly generation: (generation: number) => string
  readonly policy: (generation: number) => string
  readonly programs: (generation: number) => string
  readonly program: (generation: number, program: keyof typeof PROGRAMS) => string
  readonly copyProgram: (generation: number) => string
}

export function pinPaths(bpffs: string, instance: string): Paths {
  const root = `${bpffs}/xdp-as-code`
  const own = `${root}/${instance}`
  const generation = (n: number): string => `${own}/gen-${n}`
  return {
    root,
    instance: own,
    shared: `${own}/${SHARED}`,
    sharedMap: (map) => `${own}/${SHARED}/${SHARED_MAPS[map].name}`,
    generation,
    policy: (n) => `${generation(n)}/policy`,
    programs: (n) => `${generation(n)}/programs`,
    program: (n, program) => `${generation(n)}/programs/${PROGRAMS[program]}`,
    copyProgram: (n) => `${generation(n)}/programs/${COPY_PROGRAM}`,
  }
}

/** The generation number in a directory name, undefined for other names. */
export function generationOf(directory: string): number | undefined {
  const match = /^gen-([1-9]\d{0,14})$/.exec(directory)
  return match ? Number(match[1]) : undefined
}
