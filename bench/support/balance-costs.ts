// Costs of the balancer other than packets: building a service's table, and verifying the programs.

import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { ALL_PARTS } from '../../src/features/features.ts'
import { loadObject, withObjects } from '../../src/kernel/tools/object.ts'
import { makeRing } from '../../src/semantics/maglev.ts'
import { backend } from '../../test/support/services.ts'
import { median } from './report.ts'

export interface RingTime {
  readonly backends: number
  readonly slots: number
  readonly milliseconds: number
}

/** Milliseconds to build a table, once the code is warm. */
export function ringTimes(): RingTime[] {
  return [3, 10, 100, 600, 1000].map((count) => {
    const backends = Array.from({ length: count }, (_, i) => backend(`10.1.${i >>> 8}.${i & 255}`))
    const times = Array.from({ length: 25 }, () => {
      const began = performance.now()
      makeRing(backends)
      return performance.now() - began
    })
    return { backends: count, slots: makeRing(backends).length, milliseconds: median(times.slice(5)) }
  })
}

export interface VerifierCost {
  /** Of the most expensive program. */
  readonly instructions: number
  /** Time to load all programs, the bpftool processes included. */
  readonly milliseconds: number
}

/** Loads the programs with all parts, once for the verifier's statistics and several times for the duration. */
export const verifierCost = async (): Promise<VerifierCost> =>
  withObjects(await loadObject(), ALL_PARTS, async (paths) => costOf(paths))

function costOf(paths: readonly string[]): VerifierCost {
  const pin = `/sys/fs/bpf/xdp-bench-verifier-${process.pid}`
  // In parallel, as an apply does. The statistics are on stderr, after every instruction.
  const script = `for object in ${paths.join(' ')}; do bpftool "$@" prog loadall "$object" ${pin} 2>&1 | grep ^processed & done; wait`
  const load = (...flags: readonly string[]): string => {
    try {
      return execFileSync('sh', ['-c', script, 'sh', ...flags], { encoding: 'utf8', maxBuffer: 1 << 30 })
    } finally {
      rmSync(pin, { recursive: true, force: true })
    }
  }
  const processed = [...load('-d').matchAll(/^processed (\d+) insns/gm)].map(([, count]) => Number(count))
  const times = Array.from({ length: 9 }, () => {
    const began = performance.now()
    load()
    return performance.now() - began
  })
  return { instructions: Math.max(...processed), milliseconds: median(times) }
}
