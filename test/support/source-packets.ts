// Packets against another filter: sends a matrix of packets into a test host, and records those that its netfilter
// rules let through. A table behind all others records them, so no program has to listen.

import { execFileSync } from 'node:child_process'
import { seal } from './checksums.ts'
import type { Lab } from './hosts.ts'
import { ethernet, icmp, icmpv6, ipv4, ipv6, type Layer, packet, raw, tcp, udp } from './packets.ts'

const SOURCES = {
  4: ['192.0.2.2', '198.51.100.7', '203.0.113.7', '203.0.113.9', '203.0.114.5', '10.1.2.3', '10.9.9.9'],
  6: ['2001:db8::2', '2001:db8::bad', '2001:db8:1::7', 'fe80::7'],
} as const
const TARGETS = { 4: '192.0.2.1', 6: '2001:db8::1' } as const
const PORTS = [22, 53, 80, 443, 2222, 5353, 8080] as const
const WHOLE = [40_000, 53] as const
const SPLIT = 41_000

interface Sent {
  /** `tcp 192.0.2.2:40000 -> 22`, as the recorder prints it. */
  readonly name: string
  readonly frames: readonly Uint8Array[]
}

const SIZE = 24

/** The frame of an IPv4 datagram as two fragments. */
function split(frame: Uint8Array, id: number): Uint8Array[] {
  const at = 14 + 20
  return [frame.slice(0, at + SIZE), new Uint8Array([...frame.slice(0, at), ...frame.slice(at + SIZE)])].map(
    (part, index) => {
      const view = new DataView(part.buffer)
      view.setUint16(16, part.length - 14)
      view.setUint16(18, id)
      view.setUint16(20, index === 0 ? 0x2000 : SIZE / 8)
      return seal(part)
    },
  )
}

function* flows(): Generator<{ family: 4 | 6; source: string; protocol: 'tcp' | 'udp'; destination: number }> {
  for (const family of [4, 6] as const)
    for (const source of SOURCES[family])
      for (const protocol of ['tcp', 'udp'] as const)
        for (const destination of PORTS) yield { family, source, protocol, destination }
}

const frame = (family: 4 | 6, source: string, ...layers: readonly Layer[]): Uint8Array => {
  const ip = { source, destination: TARGETS[family] }
  return seal(packet(ethernet(), family === 4 ? ipv4(ip) : ipv6(ip), ...layers))
}

/** Every source with every protocol and port. `fragments`: also IPv4 datagrams in two fragments. */
export function matrix(fragments: boolean): Sent[] {
  const echoes = ([4, 6] as const).flatMap((family) =>
    SOURCES[family].map((source): Sent => {
      const request = frame(family, source, family === 4 ? icmp(8) : icmpv6(128), raw(8))
      return { name: `icmp ${source}`, frames: [request] }
    }),
  )
  const others = [...flows()].flatMap(({ family, source, protocol, destination }, index): Sent[] => {
    const from = (port: number): Sent => {
      const layer = protocol === 'tcp' ? tcp : udp
      const one = frame(family, source, layer({ source: port, destination }), raw(32))
      const name = `${protocol} ${source}:${port} -> ${destination}`
      return { name, frames: port === SPLIT ? split(one, index + 1) : [one] }
    }
    return [...WHOLE, ...(fragments && family === 4 ? [SPLIT] : [])].map(from)
  })
  return [...echoes, ...others]
}

/** Packets by flags, length and rate, each with a name of its own. */
export function fieldMatrix(): Sent[] {
  const source = '198.51.100.7'
  const destination = 80
  // SYN and FIN, none, RST, SYN and RST.
  const flagged = [0x03, 0, 0x04, 0x06].map((flags, index): Sent => {
    const from = 41_001 + index
    const one = frame(4, source, tcp({ source: from, destination, flags }))
    return { name: `tcp ${source}:${from} -> ${destination}`, frames: [one] }
  })
  const large = { name: 'icmp 10.3.3.3', frames: [frame(4, '10.3.3.3', icmp(8), raw(1200))] }
  const many = Array.from({ length: 12 }, (_, index): Sent => {
    const port = 42_000 + index
    const one = frame(4, '10.4.4.4', udp({ source: port, destination: 5353 }), raw(32))
    return { name: `udp 10.4.4.4:${port} -> 5353`, frames: [one] }
  })
  return [...flagged, large, ...many]
}

/** A table behind every filter of the host, and a counter of the frame that ends a matrix. */
const RECORDER = `
table inet recorder {
  set four { type ipv4_addr . inet_proto . inet_service . inet_service; flags dynamic; size 65535; }
  set six { type ipv6_addr . inet_proto . inet_service . inet_service; flags dynamic; size 65535; }
  set echo4 { type ipv4_addr; flags dynamic; size 1024; }
  set echo6 { type ipv6_addr; flags dynamic; size 1024; }
  chain last {
    type filter hook input priority 2000; policy accept;
    meta nfproto ipv4 meta l4proto { tcp, udp } add @four { ip saddr . meta l4proto . th sport . th dport }
    meta nfproto ipv6 meta l4proto { tcp, udp } add @six { ip6 saddr . meta l4proto . th sport . th dport }
    icmp type echo-request add @echo4 { ip saddr }
    icmpv6 type echo-request add @echo6 { ip6 saddr }
  }
}
table arp recorder {
  counter ends { }
  chain input { type filter hook input priority 0; policy accept; counter name "ends"; }
}
`

/** Sends frames, one per line in hexadecimal, with a pause that lets the receiving queue run empty. */
const SENDER = `
my ($index) = @ARGV;
socket(my $socket, 17, 3, 0) or die "socket: $!";
my $to = pack("S n i S C C a8", 17, 3, $index, 0, 0, 6, "");
my $count = 0;
while (<STDIN>) {
  chomp;
  send($socket, pack("H*", $_), 0, $to) or die "send: $!";
  select(undef, undef, undef, 0.002) if ++$count % 16 == 0;
}
`

const linkOf = (lab: Lab, netns: string, name: string): { ifindex: number; address: string } =>
  JSON.parse(lab.in(netns, 'ip', '-j', 'link', 'show', 'dev', name))[0]

const ENDS = /packets (\d+)/

function recorded(lab: Lab): Set<string> {
  const names = new Set<string>()
  for (const { set } of JSON.parse(lab.in(lab.host, 'nft', '-j', 'list', 'table', 'inet', 'recorder')).nftables) {
    for (const element of set?.elem ?? []) {
      const value = element.elem?.val ?? element
      const [source, protocol, from, to] = typeof value === 'string' ? [value] : value.concat
      names.add(protocol === undefined ? `icmp ${source}` : `${protocol} ${source}:${from} -> ${to}`)
    }
  }
  return names
}

/** Sends packets from the peer to eth0. Returns the names of those that reach the host's sockets. */
export async function delivered(lab: Lab, sent: readonly Sent[], wait: (ready: () => boolean) => Promise<void>) {
  lab.in(lab.host, 'nft', '-f', lab.write('recorder.nft', RECORDER))
  const mac = linkOf(lab, lab.host, 'eth0')
    .address.split(':')
    .map((octet) => Number.parseInt(octet, 16))
  const frames = sent.flatMap(({ frames: own }) => own)
  const request = new Uint8Array([...new Uint8Array(12), 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, ...new Uint8Array(20)])
  const lines = [...frames, request].map((frame) => {
    const copy = Buffer.from(frame)
    copy.set(mac, 0)
    return `${copy.toString('hex')}\n`
  })
  const peer = linkOf(lab, lab.peer, lab.peerEnd('eth0'))
  // On one processor, so that no frame overtakes another.
  const words = ['taskset', '-c', '0', 'perl', '-e', SENDER, `${peer.ifindex}`]
  execFileSync('nsenter', [`--net=/run/netns/${lab.peer}`, ...words], { input: lines.join('') })
  await wait(() => Number(ENDS.exec(lab.in(lab.host, 'nft', 'list', 'counter', 'arp', 'recorder', 'ends'))?.[1]) > 0)
  return recorded(lab)
}
