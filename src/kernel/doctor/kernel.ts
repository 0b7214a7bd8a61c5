// The kernel: version, what it lacks, BTF, the JIT, and whether its verifier takes our programs.

import { access, readFile } from 'node:fs/promises'
import { release } from 'node:os'
import { FEATURES } from '../../features/features.ts'
import type { Check } from '../../report/result.ts'
import { atLeast, FLOOR, MEMCG_ACCOUNTING, parseVersion, type Version } from '../tools/version.ts'
import { bad, ok, warn } from './check.ts'
import type { Trial } from './trial.ts'

const UPGRADE = `boot Linux ${FLOOR.join('.')} or newer`

/** Parts of the kernel that features need and a version lacks, each with the version that brought it. */
export const lacking = (version: Version): string[] =>
  FEATURES.flatMap(({ needs }) => needs)
    .filter(({ since }) => !atLeast(version, since))
    .map(({ since, what }) => `${what}, Linux ${since.join('.')}`)

/** What the version promises; a trial that succeeded beats it, because distributions port features back. */
export function checkVersion(text: string, trial: Trial): Check {
  const id = 'kernel.version'
  const version = parseVersion(text)
  if (!version) return warn(id, `the kernel calls itself ${text}, which is no version number`)
  if (atLeast(version, FLOOR)) return ok(id, `Linux ${text}`)
  if (trial.outcome === 'loaded') {
    const message = `Linux ${text} is older than ${FLOOR.join('.')}, the oldest that is tested, but takes our programs`
    return warn(id, message, UPGRADE)
  }
  const missing = lacking(version)
  if (missing.length === 0) {
    return warn(id, `Linux ${text} is older than ${FLOOR.join('.')}, the oldest that is tested`, UPGRADE)
  }
  return bad(id, `Linux ${text} lacks ${missing.join('; ')}`, UPGRADE)
}

export function checkTrial(trial: Trial): Check {
  const id = 'kernel.verifier'
  switch (trial.outcome) {
    case 'loaded':
      return ok(id, 'takes our programs (loaded on trial and removed)')
    case 'refused': {
      const fix = 'see kernel.version; in a container or under seccomp the bpf system call may be denied'
      return bad(id, `does not load our programs: ${trial.words}`, fix)
    }
    case 'skipped':
      return warn(id, `not tried: ${trial.why}`)
    default:
      return trial satisfies never
  }
}

/** `enabled` as in /proc/sys/net/core/bpf_jit_enable; undefined where it cannot be read. */
export function checkJit(enabled: string | undefined, trial: Trial): Check {
  const id = 'kernel.jit'
  const on = trial.outcome === 'loaded' ? trial.jited : enabled === undefined ? undefined : enabled !== '0'
  if (on === undefined) {
    const message = 'whether the JIT is on is not known: its setting cannot be read here'
    return warn(id, message, 'as root, outside of network namespaces: sysctl net.core.bpf_jit_enable')
  }
  if (!on) {
    const message = 'the BPF JIT is off: programs are interpreted, several times slower'
    return warn(id, message, 'sysctl -w net.core.bpf_jit_enable=1')
  }
  if (enabled === '2') {
    return warn(id, 'on, and writing every program to the kernel log', 'sysctl -w net.core.bpf_jit_enable=1')
  }
  return ok(id, 'programs are compiled to machine code')
}

/** `harden` as in /proc/sys/net/core/bpf_jit_harden: 2 = constants of root's programs are blinded too. */
export function checkHarden(harden: string | undefined): Check[] {
  if (harden !== '2') return []
  const message = 'bpf_jit_harden is 2: programs of root are hardened too, and slower for it'
  return [warn('kernel.jit_harden', message, 'sysctl -w net.core.bpf_jit_harden=1')]
}

/** `limits` is /proc/self/limits. */
export function checkMemlock(version: Version | undefined, limits: string): Check[] {
  if (!version || atLeast(version, MEMCG_ACCOUNTING)) return []
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1]
  if (soft === undefined || soft === 'unlimited') return []
  const message = `this kernel counts maps against the limit of locked memory, ${soft} bytes`
  return [warn('kernel.memlock', message, 'ulimit -l unlimited')]
}

async function read(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch {
    // Not there (the JIT's settings are not in network namespaces), or not ours to read.
    return undefined
  }
}

async function checkBtf(): Promise<Check> {
  const id = 'kernel.btf'
  try {
    await access('/sys/kernel/btf/vmlinux')
    return ok(id, 'the kernel describes its types')
  } catch {
    const message = 'no /sys/kernel/btf/vmlinux: the filter does without, other BPF tools may not'
    return warn(id, message, 'boot a kernel with CONFIG_DEBUG_INFO_BTF=y')
  }
}

export async function checkKernel(trial: Trial): Promise<Check[]> {
  const jit = '/proc/sys/net/core/bpf_jit'
  const [btf, enabled, harden, limits] = await Promise.all([
    checkBtf(),
    read(`${jit}_enable`),
    read(`${jit}_harden`),
    read('/proc/self/limits'),
  ])
  return [
    checkVersion(release(), trial),
    checkTrial(trial),
    btf,
    checkJit(enabled, trial),
    ...checkHarden(harden),
    ...checkMemlock(parseVersion(release()), limits ?? ''),
  ]
}
