// The hint of E104: `sudo` helps a user; a root without capabilities, as in a container or a systemd unit, has to get them.

import { readFileSync } from 'node:fs'

/** linux/capability.h */
export const CAPABILITIES = { DAC_OVERRIDE: 1n, NET_ADMIN: 12n, SYS_ADMIN: 21n, PERFMON: 38n, BPF: 39n } as const

export type Capability = keyof typeof CAPABILITIES

/** The process that was refused. */
export interface Rights {
  readonly uid: number | undefined
  /** Effective capabilities, as the bit set of the kernel. */
  readonly capabilities: bigint
}

export const has = (capabilities: bigint, name: Capability): boolean =>
  ((capabilities >> CAPABILITIES[name]) & 1n) === 1n

/** Effective capabilities in the text of /proc/PID/status. */
export const capabilitiesOf = (status: string): bigint =>
  BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)

function ownStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'utf8')
  } catch {
    return ''
  }
}

const ownRights = (): Rights => ({ uid: process.geteuid?.(), capabilities: capabilitiesOf(ownStatus()) })

/** `a`, `a and b`, `a, b and c`. */
const listed = (words: readonly string[]): string =>
  [words.slice(0, -1).join(', '), ...words.slice(-1)].filter(Boolean).join(' and ')

/** How a process gets these capabilities, of which it may have some. */
export function permissionHint(needed: readonly Capability[], { uid, capabilities } = ownRights()): string {
  const missing = needed.filter((name) => !has(capabilities, name))
  const named = listed(missing.map((name) => `CAP_${name}`))
  if (uid !== 0)
    return `run it with sudo (in a systemd unit, add ${named} to CapabilityBoundingSet and AmbientCapabilities)`
  if (missing.length === 0)
    return 'this is root already: a user namespace, AppArmor or SELinux may forbid it; run it on the host'
  const flags = missing.map((name) => `--cap-add ${name}`).join(' ')
  return `this is root without ${named}: start the container with ${flags} (in a systemd unit, add ${missing.length > 1 ? 'them' : 'it'} to CapabilityBoundingSet)`
}

/** Whether a seccomp filter judges the system calls of a process, by the text of /proc/PID/status. */
export const isFiltered = (status: string): boolean => /^Seccomp:\s*2$/m.test(status)

const SECCOMP =
  'a seccomp profile may forbid bpf(2), as that of podman in Debian 12 does without CAP_SYS_ADMIN: docs/install.md, "Containers", has one that allows it'

/** Whether libbpf has found no type information of the kernel, by its messages. */
export const lacksBtf = (words: string): boolean => words.includes('failed to find valid kernel BTF')

export const BTF_HINT =
  'in a container, mount sysfs at /sys; else boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as those of distributions are'

/** Why the kernel or libbpf may refuse what capabilities permit. `words`: the messages of bpftool. */
export function refusalHint(words: string, status: () => string = ownStatus): string | undefined {
  if (lacksBtf(words)) return BTF_HINT
  if (!/Operation not permitted/.test(words)) return undefined
  const text = status()
  const { BPF, SYS_ADMIN } = CAPABILITIES
  const may = (capabilitiesOf(text) & ((1n << BPF) | (1n << SYS_ADMIN))) !== 0n
  return may && isFiltered(text) ? SECCOMP : undefined
}

/** How a process may write a file of root's. */
export const writeHint = (rights = ownRights()): string =>
  rights.uid === 0 ? permissionHint(['DAC_OVERRIDE'], rights) : 'run it with sudo'
