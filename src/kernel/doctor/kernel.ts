// The kernel: version, missing features, BTF, the JIT, and whether its verifier accepts our programs.

import { access, readFile } from 'node:fs/promises'
import { release } from 'node:os'
import { atLeast, FLOOR, MEMCG_ACCOUNTING, parseVersion, type Version } from '../../model/version.ts'
import type { Check } from '../../report/result.ts'
import { lacking } from '../observe/needs.ts'
import { BTF_HINT, lacksBtf } from '../tools/permission.ts'
import { bad, ok, warn } from './check.ts'
import type { Trial } from './trial.ts'

const UPGRADE = `boot Linux ${FLOOR.join('.')} or newer`

/**
 * Judges the version, and for an old one each feature that lacks something. A successful trial overrides it, because
 * distributions backport features.
 */
export function checkVersion(text: string, trial: Trial): Check[] {
  const id = 'kernel.version'
  const version = parseVersion(text)
  if (!version) return [warn(id, `the kernel version ${text} is not a version number`)]
  if (atLeast(version, FLOOR)) return [ok(id, `Linux ${text}`)]
  const old = `Linux ${text} is older than ${FLOOR.join('.')}, the oldest supported version`
  if (trial.outcome === 'loaded') return [warn(id, `${old}, but accepts our programs`, UPGRADE)]
  const lacks = lacking(version)
  if (lacks.length === 0) return [warn(id, old, UPGRADE)]
  return [
    bad(id, old, UPGRADE),
    ...lacks.map(({ feature, missing }) => bad(`kernel.needs.${feature}`, `missing: ${missing.join('; ')}`, UPGRADE)),
  ]
}

export function checkTrial(trial: Trial): Check {
  const id = 'kernel.verifier'
  switch (trial.outcome) {
    case 'loaded':
      return ok(id, 'accepts our programs (loaded as a trial, and removed)')
    case 'refused': {
      const fix = 'see kernel.version; a container or seccomp may deny the bpf system call'
      return bad(id, `rejects our programs: ${trial.words}`, lacksBtf(trial.words) ? 'see kernel.btf' : fix)
    }
    case 'skipped':
      return warn(id, `not tried: ${trial.why}`)
    default:
      return trial satisfies never
  }
}

/** `enabled` is the content of /proc/sys/net/core/bpf_jit_enable; undefined if it cannot be read. */
export function checkJit(enabled: string | undefined, trial: Trial): Check {
  const id = 'kernel.jit'
  const on = trial.outcome === 'loaded' ? trial.jited : enabled === undefined ? undefined : enabled !== '0'
  if (on === undefined) {
    const message = 'cannot read here whether the JIT is on'
    return warn(id, message, 'as root, outside of network namespaces: sysctl net.core.bpf_jit_enable')
  }
  if (!on) {
    const message = 'the BPF JIT is off: the kernel interprets programs, which is several times slower'
    return warn(id, message, 'sysctl -w net.core.bpf_jit_enable=1')
  }
  if (enabled === '2') {
    return warn(id, 'on, and logs every program to the kernel log', 'sysctl -w net.core.bpf_jit_enable=1')
  }
  return ok(id, 'the kernel compiles programs to machine code')
}

/** `harden` is the content of /proc/sys/net/core/bpf_jit_harden; 2 = also blinds constants in programs of root. */
export function checkHarden(harden: string | undefined): Check[] {
  if (harden !== '2') return []
  const message = 'bpf_jit_harden is 2: it also hardens programs of root, which makes them slower'
  const fix = 'sysctl -w net.core.bpf_jit_harden=1, which gives up that protection for all programs of root'
  return [warn('kernel.jit_harden', message, fix)]
}

/** `limits` is /proc/self/limits. */
export function checkMemlock(version: Version | undefined, limits: string): Check[] {
  if (!version || atLeast(version, MEMCG_ACCOUNTING)) return []
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1]
  if (soft === undefined || soft === 'unlimited') return []
  const message = `this kernel counts maps against the locked-memory limit, which is ${soft} bytes`
  return [warn('kernel.memlock', message, 'ulimit -l unlimited')]
}

async function read(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch {
    // Missing (network namespaces do not have the JIT settings), or not readable by this user.
    return undefined
  }
}

/** `isThere`: the kernel shows its BTF. libbpf finds it elsewhere on some systems, where the trial loads. */
export function checkBtf(isThere: boolean, trial: Trial): Check {
  const id = 'kernel.btf'
  if (isThere || trial.outcome === 'loaded') return ok(id, 'the kernel has type information (BTF)')
  return bad(id, 'no /sys/kernel/btf/vmlinux, which loading the programs needs', BTF_HINT)
}

export async function checkKernel(trial: Trial): Promise<Check[]> {
  const jit = '/proc/sys/net/core/bpf_jit'
  const [hasBtf, enabled, harden, limits] = await Promise.all([
    access('/sys/kernel/btf/vmlinux').then(
      () => true,
      () => false,
    ),
    read(`${jit}_enable`),
    read(`${jit}_harden`),
    read('/proc/self/limits'),
  ])
  return [
    ...checkVersion(release(), trial),
    checkTrial(trial),
    checkBtf(hasBtf, trial),
    checkJit(enabled, trial),
    ...checkHarden(harden),
    ...checkMemlock(parseVersion(release()), limits ?? ''),
  ]
}
