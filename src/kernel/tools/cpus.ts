// The CPUs for which per-CPU maps have a value.

import { readFile } from 'node:fs/promises'

export interface CpuRange {
  readonly first: number
  readonly count: number
}

/** `0-3,8` as ranges (Documentation/admin-guide/cputopology.rst). Empty if the text is no such list. */
export function parseCpus(text: string): CpuRange[] {
  const parts = text.trim().split(',')
  const ranges = parts.map((part) => {
    const [, first = '', last = first] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? []
    return first === '' ? undefined : { first: Number(first), count: Number(last) - Number(first) + 1 }
  })
  return ranges.every((range) => range !== undefined && range.count > 0) ? (ranges as CpuRange[]) : []
}

/** CPUs that exist or could be plugged in; the kernel makes per-CPU values for all of them, and for no others. */
export async function possibleCpus(): Promise<CpuRange[]> {
  return parseCpus(await readFile('/sys/devices/system/cpu/possible', 'utf8'))
}
