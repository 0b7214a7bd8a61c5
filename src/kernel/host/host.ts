// Preconditions of every command that touches the kernel: permission, and a bpffs for the pins.

import { constants, readFileSync, readlinkSync, statfsSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { fail } from '../../diagnostics.ts'
import type { History } from '../../history/history.ts'
import { USUAL_BPFFS } from '../../history/place.ts'
import { type Capability, capabilitiesOf, has, permissionHint } from '../tools/permission.ts'
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
/** Effective capabilities of this process, as the bit set of the kernel. */
export const effectiveCapabilities = async (): Promise<bigint> =>
  capabilitiesOf(readFileSync('/proc/self/status', 'utf8'))

/** Whether the process may load and attach XDP programs: it needs CAP_SYS_ADMIN, or CAP_BPF with CAP_NET_ADMIN. */
export const maySteerXdp = (capabilities: bigint): boolean =>
  has(capabilities, 'SYS_ADMIN') || (has(capabilities, 'BPF') && has(capabilities, 'NET_ADMIN'))

/** Whether the process may open foreign programs: opening one by id needs CAP_SYS_ADMIN (kernel/bpf/syscall.c). */
export const mayOpenForeign = (capabilities: bigint): boolean => has(capabilities, 'SYS_ADMIN')

/** Whether `path` is a mounted bpffs. */
export async function isBpffs(path: string): Promise<boolean> {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC
  } catch {
    return false
  }
}

/** Inode of the network namespace of this process; unique while the namespace exists. */
export async function ownNetns(): Promise<bigint> {
  const link = readlinkSync('/proc/self/ns/net')
  return BigInt(/\[(\d+)\]/.exec(link)?.[1] ?? '0')
}

/**
 * Whether the kernel loads the programs for this process: the verifier allows their arithmetic on pointers only with
 * CAP_PERFMON (include/linux/bpf.h, bpf_allow_ptr_leaks).
 */
export const mayLoad = (capabilities: bigint): boolean => has(capabilities, 'SYS_ADMIN') || has(capabilities, 'PERFMON')

/** Throws E104 where the kernel would refuse to load the programs. */
export async function requireLoading(): Promise<void> {
  if (mayLoad(await effectiveCapabilities())) return
  const message = 'loading XDP programs needs CAP_PERFMON beside CAP_BPF and CAP_NET_ADMIN'
  throw fail('E104', message, permissionHint(LOADING))
}

/** The capabilities of apply and the daemon. */
const LOADING = ['BPF', 'NET_ADMIN', 'PERFMON'] as const

/** The objects that a command works on: those that are pinned, also attachments, or also programs that it loads. */
export type Need = 'pins' | 'attachments' | 'programs'

const MISSING: Readonly<Record<Need, { readonly message: string; readonly needed: readonly Capability[] }>> = {
  pins: { message: 'reading XDP and banning need root (or CAP_BPF with CAP_NET_ADMIN)', needed: ['BPF', 'NET_ADMIN'] },
  attachments: {
    message: 'detaching XDP programs needs root with CAP_NET_ADMIN (or CAP_BPF with CAP_NET_ADMIN)',
    needed: ['NET_ADMIN'],
  },
  programs: { message: 'changing XDP needs CAP_BPF with CAP_NET_ADMIN', needed: LOADING },
}

/**
 * Whether the process may do that. Since Linux 5.19 the kernel opens pins, reads and writes maps and runs test packets for
 * all who may open the files of the pins, and those belong to root (kernel/bpf/syscall.c).
 */
async function isPermitted({ bpffs }: Host, need: Need): Promise<boolean> {
  const capabilities = await effectiveCapabilities()
  if (maySteerXdp(capabilities)) return true
  if (need === 'programs' || process.geteuid?.() !== 0) return false
  if (need === 'attachments' && !has(capabilities, 'NET_ADMIN')) return false
  // The root of a user namespace need not be the owner.
  return access(bpffs, constants.R_OK | constants.X_OK).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  )
}

/** Throws E104 (exit 77) without the permission, E105 (exit 69) if the bpffs is not mounted. */
export async function requireHost(host: Host, need: Need = 'programs'): Promise<void> {
  if (!(await isPermitted(host, need))) {
    const { message, needed } = MISSING[need]
    throw fail('E104', message, permissionHint(needed))
  }
  if (/[\s"'#\\]/.test(host.bpffs)) {
    throw fail('E300', `--bpffs ${host.bpffs}: bpftool does not accept a path with white space, quotes, # or \\`)
  }
  if (!(await isBpffs(host.bpffs))) {
    const elsewhere = host.bpffs === USUAL_BPFFS ? '' : '; or name a mounted one, which `findmnt -t bpf` lists'
    throw fail('E105', `${host.bpffs} is not a mounted bpffs`, `mount -t bpf bpf ${host.bpffs}${elsewhere}`)
  }
}
