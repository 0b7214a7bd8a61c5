// A saved plan: everything that decides whether it is still the plan of this host, as data. Its text is in src/saved.

/** A file that the config was read from. */
export interface PlanInput {
  readonly kind: 'config' | 'included' | 'allowlist' | 'blocklist' | 'sources'
  /** Relative to the directory of the config if it is in there, else absolute. */
  readonly path: string
  /** SHA-256 as hex. */
  readonly sha256: string
}

/** Kinds of facts, in the order in which refusals name them. */
export const FACT_KINDS = [
  'generation',
  'confirmation',
  'tables',
  'leftovers',
  'device',
  'programs',
  'drift',
  'next-hop',
  'local-ports',
  'tcp',
  'own-addresses',
  'record',
  'index',
  'stack',
  'map',
  'program',
] as const

export type FactKind = (typeof FACT_KINDS)[number]

/** A fact about the live state that a plan relies on. */
export interface PlanFact {
  readonly kind: FactKind
  /** The object that has it, such as an interface; empty if there is only one. */
  readonly name: string
  /** Comparable text. */
  readonly value: string
}

/** One change of a plan, by its content. */
export interface PlannedChange {
  readonly key: string
  readonly op: string
  /** SHA-256 as hex, of all of it but the live connections that it cuts. */
  readonly sha256: string
}

/** The host and instance that a plan was made for. */
export interface PlanHost {
  readonly name: string
  /** Random at each boot (proc_sys_kernel(5)). */
  readonly bootId: string
  /** Inode of the network namespace, in decimal. */
  readonly netns: string
  /** Absolute path of the mount. */
  readonly bpffs: string
  readonly instance: string
}

/** The build that made a plan. */
export interface PlanBuild {
  readonly version: string
  readonly abi: number
  /** Digest of the BPF objects, as in `Program`. */
  readonly digest: string
}

/** The live state that a plan was made of, and its changes. */
export interface PlanBasis {
  readonly host: PlanHost
  readonly build: PlanBuild
  readonly live: readonly PlanFact[]
  readonly changes: readonly PlannedChange[]
}

/** The guards that a plan exceeds because its flags said so, which its review has approved. */
export interface PlanAccepted {
  /** Untrusted feeds. */
  readonly shrink: boolean
  readonly growth: boolean
  /** Limits of the config. */
  readonly removed: boolean
  readonly blocked: boolean
  readonly wide: boolean
  /** Words of `--allow-cut`. */
  readonly cuts: readonly string[]
}

/** The flags of `xdp plan` that say so. */
export const acceptedFlags = ({ cuts, ...rest }: PlanAccepted): string[] => [
  ...Object.entries(rest).flatMap(([name, isAccepted]) => (isAccepted ? [`--accept-${name}`] : [])),
  ...cuts.map((word) => `--allow-cut ${word}`),
]

export interface SavedPlan extends PlanBasis {
  /** ISO 8601, UTC. */
  readonly createdAt: string
  /** `path` is absolute. */
  readonly config: { readonly path: string; readonly sha256: string }
  /** The config first. */
  readonly inputs: readonly PlanInput[]
  readonly accepted: PlanAccepted
  /** Digest of the document, as hex. */
  readonly sha256: string
}
