// Where our objects are pinned. Everything we own lies below `<bpffs>/xdp-as-code/<instance>/`; libxdp, xdp-filter, tc
// and ip have their own directories, which we never touch. Interface names are no part of a path: bpffs refuses dots.

import { OWN_DIRECTORY } from './directory.ts'
import {
  ABI_VERSION,
  BANS,
  backendCounterCodec,
  banCodec,
  banKeyCodec,
  banStateCodec,
  flowBudgetCodec,
  HEALTH_LINES,
  INTERFACE_INDEX_SIZE,
  INTERFACE_SLOTS,
  LINE_SIZE,
  LIST_SLOTS,
  REASON_SLOTS,
  SNAT_PORTS,
  serviceCounterCodec,
} from './generated.ts'

/** Programs of the object, by the names they are pinned under. */
export const PROGRAMS = {
  filter: 'xdp_filter',
  explain: 'explain',
  write: 'table_write',
  read: 'table_read',
  digest: 'table_digest',
  stats: 'stats_read',
  banWrite: 'ban_write',
  banSweep: 'ban_sweep',
  banCount: 'ban_count',
  healthWrite: 'health_write',
  counterRead: 'counter_read',
  flowCount: 'flow_count',
  portCount: 'port_count',
} as const

export type ProgramName = keyof typeof PROGRAMS

/** Runs while a generation is built, and is unpinned then because it holds the map of the one before. */
export const COPY_PROGRAM = 'table_copy'

/** Those without which a generation is no complete one. Without one of the others it is repaired. */
export const CORE_PROGRAMS = ['filter', 'explain', 'write', 'read', 'stats'] as const satisfies readonly ProgramName[]

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

/** Maps that outlive generations. */
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
  health: { name: 'health', type: 'array', keySize: 4, valueSize: LINE_SIZE, entries: HEALTH_LINES, flags: MMAPABLE },
  flowBudget: {
    name: 'flow_budget',
    type: 'percpu_array',
    keySize: 4,
    valueSize: flowBudgetCodec.size,
    entries: 1,
    flags: 0,
  },
} as const satisfies Record<string, MapShape>

export type SharedMap = keyof typeof SHARED_MAPS

/** Those that the programs use; `attachments` is the control plane's alone. */
export const PROGRAM_MAPS = [
  'verdictStats',
  'listStats',
  'interfaceIndex',
  'bans',
  'banState',
  'health',
  'flowBudget',
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

/** How many entries the balancer's maps of a generation need. */
export interface BalanceSizes {
  /** Lines of `flows`. */
  readonly flowLines: number
  /** Entries of `service_stats` and `backend_stats`. */
  readonly services: number
  readonly backends: number
  /** Addresses of source pools that `snat_ports` has room for; 0 = none. */
  readonly pools: number
}

/**
 * The balancer's maps of one generation, which are as large as its services ask for. Those of the generation before are
 * handed on where their shape is the same; they hold connections and counters.
 */
export const balanceMaps = ({ flowLines, services, backends, pools }: BalanceSizes) =>
  ({
    flows: { name: 'flows', type: 'array', keySize: 4, valueSize: LINE_SIZE, entries: flowLines, flags: MMAPABLE },
    serviceStats: {
      name: 'service_stats',
      type: 'percpu_array',
      keySize: 4,
      valueSize: serviceCounterCodec.size,
      entries: services,
      flags: 0,
    },
    backendStats: {
      name: 'backend_stats',
      type: 'percpu_array',
      keySize: 4,
      valueSize: backendCounterCodec.size,
      entries: backends,
      flags: 0,
    },
    snatPorts: {
      name: 'snat_ports',
      type: 'array',
      keySize: 4,
      valueSize: LINE_SIZE,
      entries: Math.max(1, pools * 2 * SNAT_PORTS),
      flags: MMAPABLE,
    },
  }) as const satisfies Record<string, MapShape>

export type BalanceMap = keyof ReturnType<typeof balanceMaps>

/** Their names, by which the programs know them and they are pinned beside the policy. */
export const BALANCE_MAPS: Readonly<Record<BalanceMap, string>> = {
  flows: 'flows',
  serviceStats: 'service_stats',
  backendStats: 'backend_stats',
  snatPorts: 'snat_ports',
}

/**
 * Maps that two builds share have one layout, so their directory carries the ABI version: a build of another version
 * makes its own beside it and the old one goes with the last generation that uses it.
 */
const SHARED = `shared-${ABI_VERSION}`

/** Directory of the programs that carry counters and ports over to larger maps, while they are at it. */
export const CARRY = 'carry'

/** Directory of the programs that list bans, while they are at it: beside the maps, where nobody takes it for an apply's. */
const LISTING = 'listing'

/** Pin paths of one instance. */
export interface Paths {
  /** Our directory in the bpffs, above all instances. */
  readonly root: string
  readonly instance: string
  readonly shared: string
  readonly sharedMap: (map: SharedMap) => string
  readonly listing: string
  readonly generation: (generation: number) => string
  readonly policy: (generation: number) => string
  readonly balanceMap: (generation: number, map: BalanceMap) => string
  readonly carry: (generation: number) => string
  readonly programs: (generation: number) => string
  readonly program: (generation: number, program: ProgramName) => string
  readonly copyProgram: (generation: number) => string
}

export function pinPaths(bpffs: string, instance: string): Paths {
  const root = `${bpffs}/${OWN_DIRECTORY}`
  const own = `${root}/${instance}`
  const generation = (n: number): string => `${own}/gen-${n}`
  return {
    root,
    instance: own,
    shared: `${own}/${SHARED}`,
    sharedMap: (map) => `${own}/${SHARED}/${SHARED_MAPS[map].name}`,
    listing: `${own}/${SHARED}/${LISTING}`,
    generation,
    policy: (n) => `${generation(n)}/policy`,
    balanceMap: (n, map) => `${generation(n)}/${BALANCE_MAPS[map]}`,
    carry: (n) => `${generation(n)}/${CARRY}`,
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
