// Versions of kernels and tools. Pure.

/** Major and minor number. */
export type Version = readonly [number, number]

/** The first `N.N` of a text (`6.1.0-56-cloud-amd64`, `iproute2-6.1.0`, `v7.1.0`); undefined where there is none. */
export function parseVersion(text: string): Version | undefined {
  const match = /(\d+)\.(\d+)/.exec(text)
  return match ? [Number(match[1]), Number(match[2])] : undefined
}

export const atLeast = ([major, minor]: Version, [wantedMajor, wantedMinor]: Version): boolean =>
  major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)

/** The oldest kernel on which everything is tested. */
export const FLOOR: Version = [6, 1]

/** Before this, memory of maps and programs counted against RLIMIT_MEMLOCK; since then against the memory cgroup. */
export const MEMCG_ACCOUNTING: Version = [5, 11]
