// How packets arrive on a network interface.

import type { Link } from './live.ts'

type Related = Pick<Link, 'name' | 'kind' | 'master'>

/**
 * Kinds of masters whose native program the kernel runs on their members: bonds (bond_xdp_set), and the network adapter
 * of Hyper-V, whose packets mostly arrive on the virtual function behind it (netvsc_vf_setxdp). Bridges, teams and VRFs
 * have no native XDP: in generic mode their packets arrive on themselves.
 */
const RUNS_ON_MEMBERS = new Set(['bond', 'physical'])

/** The members on which packets of an interface arrive, in order of ifindex. */
export function membersOf<T extends Related & Pick<Link, 'ifindex'>>(
  link: Related,
  links: ReadonlyMap<string, T>,
): readonly T[] {
  if (!RUNS_ON_MEMBERS.has(link.kind)) return []
  const members = [...links.values()].filter(({ master }) => master === link.name)
  return members.sort((left, right) => left.ifindex - right.ifindex)
}
