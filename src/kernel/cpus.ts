// Which CPUs per-CPU maps have values of.

export interface CpuRange {
  readonly first: number
  readonly count: number
}

/** The text of /sys/devices/system/cpu/possible, such as `0-3,8`, as ranges. */
export function cpuRanges(text: string): CpuRange[] {
  return text
    .trim()
    .split(',')
    .map((part) => {
      const [first = 0, last = first] = part.split('-').map(Number)
      return { first, count: last - first + 1 }
    })
}
