// Random frames for random services: to their VIPs and ports or close to them, with all features that packets may have.

import type { Service } from '../../src/model/service.ts'
import { formatAddress } from '../../src/model/text.ts'
import { seal } from './checksums.ts'
import type { Layer } from './packets.ts'
import * as layers from './packets.ts'
import { type Random, randomFrame } from './random.ts'

const FLAGS = [layers.SYN, layers.ACK, layers.SYN | layers.ACK, layers.FIN | layers.ACK, layers.RST]
const CLIENTS = {
  4: ['198.51.100.7', '203.0.113.77', '8.8.4.4'],
  6: ['2001:db8::7', '2a00:1450::88', '2001:db8:ffff::1:2'],
} as const

const NUMBERS = { tcp: 6, udp: 17 } as const

/** A port of the service, or one next to it. */
function portOf(random: Random, { ports }: Service): number {
  const { first, last } = random.pick(ports)
  const beside = [first - 1, last + 1].filter((port) => port >= 0 && port <= 0xffff)
  const own = [first, last, first + random.below(last - first + 1)]
  return random.pick(random.chance(0.85) || beside.length === 0 ? own : beside)
}

function transport(random: Random, service: Service, reversed: boolean): Layer {
  const own = portOf(random, service)
  const other = 1024 + random.below(60000)
  const ports = reversed ? { source: own, destination: other } : { source: other, destination: own }
  const isTcp = (random.pick(service.protocols) === 'tcp') === random.chance(0.92)
  return isTcp ? layers.tcp({ ...ports, flags: random.pick(FLAGS) }) : layers.udp(ports)
}

const size = (random: Random): number =>
  random.chance(0.15) ? 1200 + random.below(400) : random.below(random.chance(0.5) ? 12 : 200)

function extensions(random: Random): Layer[] {
  return Array.from({ length: random.chance(0.7) ? 0 : 1 + random.below(3) }, () =>
    random.pick([
      layers.hopByHop({ size: 8 * (1 + random.below(3)) }),
      layers.destinationOptions({ size: 16 }),
      layers.ah({ size: 8 + 4 * random.below(4) }),
      layers.fragment(),
    ]),
  )
}

/** An IP header, and the headers between it and the transport header. */
function network(
  random: Random,
  family: 4 | 6,
  source: string,
  destination: string,
  piece: Piece | undefined,
): Layer[] {
  const ttl = random.pick([1, 2, 64, 255])
  const protocol = piece && piece.offset > 0 ? { protocol: piece.protocol, next: piece.protocol } : {}
  if (family === 4) {
    const options = random.chance(0.15) ? 4 * random.below(11) : 0
    const dontFragment = random.chance(0.5)
    return [
      layers.ipv4({ source, destination, ttl, options, tos: random.below(256), dontFragment, ...piece, ...protocol }),
    ]
  }
  const header = layers.ipv6({
    source,
    destination,
    hopLimit: ttl,
    trafficClass: random.below(256),
    flowLabel: random.below(2 ** 20),
  })
  return [header, ...extensions(random), ...(piece ? [layers.fragment({ ...piece, ...protocol })] : [])]
}

interface Piece {
  readonly offset: number
  readonly more: boolean
  readonly protocol: number
}

function icmp(random: Random, service: Service, vip: string, client: string): Layer[] {
  const { family } = service.vip
  const echo = family === 4 ? layers.icmp(8, 0, random.below(2 ** 31)) : layers.icmpv6(128, 0, random.below(2 ** 31))
  if (random.chance(0.3)) return [echo, layers.raw(random.below(60))]
  const type = family === 4 ? random.pick([3, 3, 11, 12, 4, 5]) : random.pick([1, 2, 3, 4, 5, 135])
  const error = family === 4 ? layers.icmp(type, random.below(6), 1300) : layers.icmpv6(type, random.below(3), 1300)
  const source = random.chance(0.9) ? vip : client
  const inner = [
    ...network(random, family, source, client, undefined),
    transport(random, service, true),
    layers.raw(random.below(40)),
  ]
  const quoted = seal(layers.packet(layers.ethernet(), ...inner)).subarray(14)
  return [error, layers.raw(random.chance(0.5) ? quoted : quoted.subarray(0, random.below(quoted.length + 1)))]
}

const tags = (random: Random): Layer[] =>
  Array.from({ length: random.chance(0.7) ? 0 : 1 + random.below(2) }, (_, i) =>
    layers.vlan(1 + random.below(100), i === 0 && random.chance(0.3) ? { type: 0x88a8 } : {}),
  )

/** Mostly a packet for one of the services. All checksums are correct, or zero where UDP allows it. */
export function randomBalancedFrame(random: Random, services: readonly Service[]): Uint8Array {
  if (services.length === 0 || random.chance(0.1)) return randomFrame(random)
  const service = random.pick(services)
  const { family, words } = service.vip
  const vip = formatAddress(family, words)
  const client = random.pick(CLIENTS[family])
  const isPiece = random.chance(0.12)
  const piece: Piece | undefined = isPiece
    ? {
        offset: random.chance(0.5) ? 0 : 1 + random.below(100),
        more: random.chance(0.7),
        protocol: NUMBERS[random.pick(service.protocols)],
      }
    : undefined
  const isLater = piece !== undefined && piece.offset > 0
  const behind =
    random.chance(0.2) && !piece
      ? icmp(random, service, vip, client)
      : [...(isLater ? [] : [transport(random, service, false)]), layers.raw(size(random))]
  const whole = layers.packet(
    layers.ethernet(random.chance(0.03) ? { destination: 'ff:ff:ff:ff:ff:ff' } : {}),
    ...tags(random),
    ...network(random, family, client, vip, piece?.offset === 0 && !piece.more ? undefined : piece),
    ...behind,
  )
  const frame = seal(whole, { keepZero: random.chance(0.3) })
  if (random.chance(0.05)) return frame.subarray(0, 14 + random.below(frame.length - 14))
  return random.chance(0.1) ? layers.padded(frame, Math.max(60, frame.length + random.below(20))) : frame
}
