// Random hosts: live connections, gateways and resolvers, for the guard of cuts.

import type { Asked } from '../../src/kernel/live/cuts.ts'
import type { Address } from '../../src/model/address.ts'
import type { Connection, Contact, Gateway, Resolver } from '../../src/model/contact.ts'
import type { Slots } from '../../src/model/live.ts'
import { parseAddress } from '../../src/model/text.ts'
import { address4, address6, INTERFACES, type Random } from './random.ts'
import { link } from './states.ts'

export const LINKS = INTERFACES.map((name, i) => link(name, { ifindex: 10 + i }))
export const SLOTS: Slots['interfaces'] = new Map(INTERFACES.map((name, i) => [name, 1 + i]))
export const PORTS = [22, 53, 443, 2222, 5353, 40_000]
const PROCESSES = ['sshd', 'sshd-session', 'dropbear', 'nginx', undefined]

export const addressIn = (random: Random): Address =>
  parseAddress(random.chance(0.5) ? address4(random) : address6(random)) as Address

/** An address of this host, of the family of a peer. */
export const own = ({ family }: Address): Address =>
  parseAddress(family === 4 ? '192.0.2.1' : '2001:db8:ff::1') as Address

export interface Host {
  readonly contacts: readonly Contact[]
  readonly processes: ReadonlyMap<number, string>
  /** The device that routes lead to, by family. */
  readonly devices: Readonly<Record<4 | 6, string>>
}

/** A host with less than `most` connections. */
export function randomHost(random: Random, most = 30): Host {
  const processes = new Map<number, string>()
  const connections = Array.from({ length: random.below(most) }, (_, i): Connection => {
    const peer = addressIn(random)
    const isInbound = random.chance(0.6)
    // A connection in SYN-RECV has no socket.
    const inode = random.chance(0.1) ? 0 : i + 1
    const name = random.pick(PROCESSES)
    if (inode !== 0 && name !== undefined) processes.set(inode, name)
    const [near, far] = [random.pick(PORTS), 32_768 + random.below(28_000)]
    return {
      ...({ kind: 'connection', protocol: random.pick(['tcp', 'udp']), peer, local: own(peer), isInbound } as const),
      ...{ inode, isSession: random.chance(0.05) },
      peerPort: isInbound ? far : near,
      localPort: isInbound ? near : far,
    }
  })
  const gateways = Array.from({ length: random.below(3) }, (): Gateway => {
    return { kind: 'gateway', peer: addressIn(random), local: undefined, device: random.pick(INTERFACES) }
  })
  const resolvers = Array.from({ length: random.below(3) }, (): Resolver => {
    const peer = addressIn(random)
    return { kind: 'resolver', peer, local: own(peer), localPort: 32_768 + random.below(28_000) }
  })
  const devices = { 4: random.pick(INTERFACES), 6: random.pick(INTERFACES) }
  return { contacts: [...connections, ...gateways, ...resolvers], processes, devices }
}

export const asked = ({ processes, devices }: Host): Asked => ({
  arrivalsOf: async (contacts) => contacts.map(({ device, peer }) => device ?? devices[peer.family]),
  processesOf: () => processes,
})
