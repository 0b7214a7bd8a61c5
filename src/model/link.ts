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

/** First header of the packets that XDP sees on a device: an Ethernet header, or that of IP. */
export type Shape = 'ethernet' | 'ip'

const ETHERNET: ReadonlySet<string> = new Set(['ether', 'loopback'])

/**
 * Kinds of devices without Ethernet header that hand packets to generic XDP from the IP header on: their drivers reset the
 * start of the link layer to it (drivers/net/tun.c, ppp_generic.c, wireguard; since Linux 5.14 net/ipv4/ip_tunnel.c,
 * net/ipv6/ip6_tunnel.c, sit.c, ip_gre.c, ip6_gre.c). xfrm and vti devices are not among them, because they keep a copy of
 * the outer Ethernet header.
 */
const BARE_KINDS: ReadonlySet<string> = new Set(['gre', 'ip6gre', 'ip6tnl', 'ipip', 'ppp', 'sit', 'tun', 'wireguard'])

/** undefined: the device has another link layer, or one that is unknown. */
export function shapeOf({
  kind,
  linkType,
  isMultipoint,
}: Pick<Link, 'kind' | 'linkType' | 'isMultipoint'>): Shape | undefined {
  if (ETHERNET.has(linkType)) return 'ethernet'
  // On a GRE tunnel without a fixed remote end, packets start with the outer IP header (ipgre_header_ops in ip_gre.c).
  if (isMultipoint) return undefined
  return BARE_KINDS.has(kind) ? 'ip' : undefined
}

/** The shapes of packets on these interfaces, each once; without any interface, that of Ethernet. */
export function shapesOf(
  names: Iterable<string>,
  links: ReadonlyMap<string, Pick<Link, 'kind' | 'linkType' | 'isMultipoint'>>,
): Shape[] {
  const found = new Set(
    [...names].map((name) => links.get(name)).flatMap((link) => (link ? (shapeOf(link) ?? []) : [])),
  )
  const shapes = (['ethernet', 'ip'] as const).filter((shape) => found.has(shape))
  return shapes.length > 0 ? shapes : ['ethernet']
}
