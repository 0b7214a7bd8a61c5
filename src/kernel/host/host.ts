// Preconditions of every command that touches the kernel: permission, and a bpffs for the pins.

import { constants } from 'node:fs'
import { access, readFile, readlink, statfs } from 'node:fs/promises'
import { fail } from '../../diagnostics.ts'
import type { History } from '../../history/history.ts'
import type { Memory } from './memory.ts'

/** Settings of a command from the global flags. */
export interface Host extends Memory {
  /** Mount point of the bpffs. */
  readonly bpffs: string
  readonly instance: string
  readonly lockTimeoutMs: number
  readonly signal?: AbortSignal
  /**
   * Runs a long computation while a signal ends the process at once: the computation would keep it from being handled.
   * Absent in the daemon, which a signal always stops in order.
   */
  readonly compute?: <T>(body: () => T) => Promise<T>
  /** The command that starts this program: path of Node, path of the program. Absent in tests. */
  readonly self?: readonly string[]
  /** Where applies are remembered; absent: they are not. */
  readonly history?: History
  /** Where the copies of sources in the network are, and their required owner; absent: the default place of root. */
  readonly copies?: { readonly directory: string; readonly uid: number }
  /** Called with the name of each stage as it starts. */
  readonly progress?: (stage: string) => void
}

/** linux/magic.h BPF_FS_MAGIC */
const BPF_FS_MAGIC = 0xcafe4a11
/** linux/capability.h */
const CAP_NET_ADMIN = 12n
const CAP_SYS_ADMIN = 21n
const CAP_PERFMON = 38n
const CAP_BPF = 39n

const has = (capabilities: bigint, capability: bigint): boolean => ((capabilities >> capability) & 1n) === 1n

/** Effective capabilities of this process, as the bit set of the kernel. */
export async function effectiveCapabilities(): Promise<bigint> {
  const status = await readFile('/proc/self/status', 'utf8')
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
}

/** Whether the process may load and attach XDP programs: it needs CAP_SYS_ADMIN, or CAP_BPF with CAP_NET_ADMIN. */
export const maySteerXdp = (capabilities: bigint): boolean =>
  has(capabilities, CAP_SYS_ADMIN) || (has(capabilities, CAP_BPF) && has(capabilities, CAP_NET_ADMIN))

/** Whether the process may open foreign programs: opening one by id needs CAP_SYS_ADMIN (kernel/bpf/syscall.c). */
export const mayOpenForeign = (capabilities: bigint): boolean => has(capabilities, CAP_SYS_ADMIN)

/** Whether `path` is a mounted bpffs. */
export async function isBpffs(path: string): Promise<boolean> {
  try {
    return (await statfs(path)).type === BPF_FS_MAGIC
  } catch {
    return false
  }
}

/** Inode of the network namespace of this process; unique while the namespace exists. */
export async function ownNetns(): Promise<bigint> {
  const link = await readlink('/proc/self/ns/net')
  return BigInt(/\[(\d+)\]/.exec(link)?.[1] ?? '0')
}

/**
 * Whether the kernel loads the programs for this process: the verifier allows their arithmetic on pointers only with
 * CAP_PERFMON (include/linux/bpf.h, bpf_allow_ptr_leaks).
 */
export const mayLoad = (capabilities: bigint): boolean =>
  has(capabilities, CAP_SYS_ADMIN) || has(capabilities, CAP_PERFMON)

/** Throws E104 where the kernel would refuse to load the programs. */
export async function requireLoading(): Promise<void> {
  if (mayLoad(await effectiveCapabilities())) return
  const hint = 'run it with sudo (in a systemd unit, add CAP_PERFMON to CapabilityBoundingSet and AmbientCapabilities)'
  throw fail('E104', 'loading XDP programs needs CAP_PERFMON beside CAP_BPF and CAP_NET_ADMIN', hint)
}

/** The objects that a command works on: those that are pinned, also attachments, or also programs that it loads. */
export type Need = 'pins' | 'attachments' | 'programs'

const MISSING: Readonly<Record<Need, string>> = {
  pins: 'reading XDP and banning need root (or CAP_BPF with CAP_NET_ADMIN)',
  attachments: 'detaching XDP programs needs root with CAP_NET_ADMIN (or CAP_BPF with CAP_NET_ADMIN)',
  programs: 'changing XDP needs CAP_BPF with CAP_NET_ADMIN',
}

/**
 * Whether the process may do that. Since Linux 5.19 the kernel opens pins, reads and writes maps and runs test packets for
 * all who may open the files of the pins, and those belong to root (kernel/bpf/syscall.c).
 */
async function isPermitted({ bpffs }: Host, need: Need): Promise<boolean> {
  const capabilities = await effectiveCapabilities()
  if (maySteerXdp(capabilities)) return true
  if (need === 'programs' || process.geteuid?.() !== 0) return false
  if (need === 'attachments' && !has(capabilities, CAP_NET_ADMIN)) return false
  // The root of a user namespace need not be the owner.
  return access(bpffs, constants.R_OK | constants.X_OK).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  )
}

/** Throws E104 (exit 77) without the permission, E105 (exit 69) if the bpffs is not mounted. */
export async function requireHost(host: Host, need: Need = 'programs'): Promise<void> {
  if (!(await isPermitted(host, need))) throw fail('E104', MISSING[need], 'run it with sudo')
  if (/[\s"'#\\]/.test(host.bpffs)) {
    throw fail('E300', `--bpffs ${host.bpffs}: bpftool does not accept a path with white space, quotes, # or \\`)
  }
  if (!(await isBpffs(host.bpffs))) {
    throw fail('E105', `${host.bpffs} is not a mounted bpffs`, `mount -t bpf bpf ${host.bpffs}`)
  }
}
