// Versions, and which kernel brought what the data plane needs. Pure.

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

/** What the data plane uses, by the kernel that brought it. Sources: the commits' tags in torvalds/linux. */
const NEEDS: readonly { readonly since: Version; readonly what: string }[] = [
  { since: [5, 5], what: 'page-aligned array maps (BPF_F_MMAPABLE)' },
  { since: [5, 17], what: 'loops in programs (bpf_loop)' },
  { since: [5, 18], what: 'programs for packets in several buffers (xdp.frags)' },
  { since: [5, 18], what: 'access to such packets (bpf_xdp_load_bytes, bpf_xdp_store_bytes, bpf_xdp_get_buff_len)' },
  { since: [5, 18], what: 'test runs with more than a page of data, by which tables are filled' },
]

/** What a kernel of this version lacks, each with the version that brought it. */
export const lacking = (version: Version): string[] =>
  NEEDS.filter(({ since }) => !atLeast(version, since)).map(({ since, what }) => `${what}, Linux ${since.join('.')}`)

/** Before this, memory of maps and programs counted against RLIMIT_MEMLOCK; since then against the memory cgroup. */
export const MEMCG_ACCOUNTING: Version = [5, 11]
