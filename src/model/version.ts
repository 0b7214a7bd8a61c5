// Versions of kernels and tools. Pure.

/** Major and minor number. */
export type Version = readonly [number, number]

/** The first `N.N` of a text (`6.1.0-56-cloud-amd64`, `iproute2-6.1.0`, `v7.1.0`); undefined without one. */
export function parseVersion(text: string): Version | undefined {
  const match = /(\d{1,9})\.(\d{1,9})/.exec(text)
  return match ? [Number(match[1]), Number(match[2])] : undefined
}

export const atLeast = ([major, minor]: Version, [wantedMajor, wantedMinor]: Version): boolean =>
  major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)

/** The oldest kernel on which everything is tested. */
export const FLOOR: Version = [6, 1]

/** From here on, memory of maps and programs counts against the memory cgroup; before, against RLIMIT_MEMLOCK. */
export const MEMCG_ACCOUNTING: Version = [5, 11]
