// Addresses that a ban may cover only after a closer look: those of the host, its default gateways, its resolvers, and
// SSH clients. Such a ban would cut off the host, or the user who typed it.

import { readFile } from 'node:fs/promises'
import { BadAnswer, list, optional, record, type ShapeOf, text } from '../../abi/answer.ts'
import { DEVICES, deviceNames } from '../../abi/device-names.ts'
import type { Address } from '../../model/address.ts'
import { BY_BYTES, objectionToLabel, type Protected } from '../../model/ban.ts'
import type { SocketEnd } from '../../model/live.ts'
import { parseAddress, sameAddress } from '../../model/text.ts'
import type { OwnAddress } from '../../plan/warn-own-addresses.ts'
import { understand } from '../tools/answer.ts'
import { askIp, askIpBatch } from '../tools/ip.ts'
import { CommandError } from '../tools/spawn.ts'
import { readResolvers } from './contacts.ts'
import { endsOf, ownSession, sshSockets } from './processes.ts'
import { addressOf, readConnections, readTable, sshRows, unmapped } from './sockets.ts'

const ownInfo = optional(list(record({ local: optional(text) })))
const addresses = list(record({ ifname: text, addr_info: ownInfo }))
const optionalAddresses = { ifname: optional(text), addr_info: ownInfo }

const hop = {
  gateway: optional(text),
  /** A gateway of the other family (RFC 5549). */
  via: optional(record({ host: optional(text) })),
}
const hops = { ...hop, nexthops: optional(list(record(hop))) }

const read = (text: string | undefined): Address[] => {
  const address = text === undefined ? undefined : parseAddress(text)
  return address ? [addressOf(unmapped(address.words))] : []
}

const readDeviceNames = async (): Promise<readonly string[]> => deviceNames(await readFile(DEVICES, 'utf8'))

/**
 * All addresses of this host in this namespace, with their interface. Throws E131 if an interface is missing that exists
 * all the time: entries with `destination: host` would lose its addresses.
 */
async function addressesByInterface(): Promise<ShapeOf<typeof addresses>> {
  const before = await readDeviceNames()
  const found = await askIp(addresses, 'addr', 'show')
  const names = new Set(found.map(({ ifname }) => ifname))
  const after = new Set(await readDeviceNames())
  const missing = before.filter((name) => after.has(name) && !names.has(name))
  return understand('ip', 'ip addr show', () => {
    if (missing.length > 0) throw new BadAnswer(`it lacks ${missing.join(', ')}`)
    return found
  })
}

/** All addresses of this host in this namespace. */
export async function readOwnAddresses(): Promise<readonly Address[]> {
  const links = await addressesByInterface()
  return links.flatMap(({ addr_info = [] }) =>
    addr_info.flatMap(({ local }) => (local === undefined ? [] : (parseAddress(local) ?? []))),
  )
}

/** All addresses of this host in this namespace, with their interfaces. */
export async function readOwnOnInterfaces(): Promise<readonly OwnAddress[]> {
  const links = await addressesByInterface()
  return links.flatMap(({ ifname, addr_info = [] }) =>
    addr_info.flatMap(({ local }) => read(local).map((address) => ({ interface: ifname, address }))),
  )
}

/** An interface with its addresses, or a route. */
const network = list(record({ ...optionalAddresses, ...hops }))
type Network = ShapeOf<typeof network>

function ownAddresses(links: Network): Protected[] {
  return links.flatMap(({ ifname, addr_info = [] }) =>
    addr_info.flatMap(({ local }) =>
      read(local).map(({ words }) => ({ address: words, what: `an address of this host, on ${ifname}` })),
    ),
  )
}

const gateways = (routes: Network): Address[] =>
  routes.flatMap((route) =>
    [route, ...(route.nexthops ?? [])].flatMap(({ gateway, via }) => read(gateway ?? via?.host)),
  )

/** Addresses of this host and its default gateways in every routing table, from one ip process. */
async function ownNetwork(): Promise<Delicate> {
  const lines = ['addr show', 'route show table all default']
  const rows = (await askIpBatch(network, lines)).flatMap(({ output, error }, i) => {
    if (error !== undefined) throw new CommandError(`ip ${lines[i]}`, 1, error)
    return output
  })
  return { own: ownAddresses(rows), peers: gateways(rows) }
}

/** Peers of established connections to local port 22, from the text of /proc/net/tcp or tcp6. */
export const sshPeers = (table: string): Address[] => sshRows(table).map(({ peer }) => peer.address)

/** Peers of SSH servers on any port, and those of the session of this command. */
async function sessionPeers(): Promise<Address[]> {
  const tables = await Promise.all([readTable('tcp'), readTable('tcp6')])
  const { connections } = await readConnections(ownSession())
  const servers = sshSockets()
  const found = connections.filter(
    ({ isSession, isInbound, inode }) => isSession || (isInbound && inode !== 0 && servers.has(inode)),
  )
  return [...tables.flatMap(sshPeers), ...found.map(({ peer }) => peer)]
}

/** The server end of SSH_CONNECTION, which also covers an sshd on another port than 22. */
const ownSshEnd = (): SocketEnd[] => endsOf(process.env['SSH_CONNECTION']).map(({ local }) => local)

/** The local ends of SSH connections: those to port 22, and the one that this command runs in. */
export async function readSshEnds(): Promise<readonly SocketEnd[]> {
  const tables = await Promise.all([readTable('tcp'), readTable('tcp6')])
  return [...ownSshEnd(), ...tables.flatMap(sshRows).map(({ local }) => local)]
}

/** The user who became root by sudo to run this command, if the name fits into a label; empty: none. */
export function ownAuthor(): string {
  const name = process.env['SUDO_USER'] ?? ''
  return objectionToLabel(name, BY_BYTES) === undefined ? name : ''
}

/** The SSH client that started this command, if the variables of sshd are still set. */
export function ownPeers(): Address[] {
  const found = ['SSH_CLIENT', 'SSH_CONNECTION'].flatMap((name) => read(process.env[name]?.split(' ')[0]))
  return found.filter((one, at) => found.findIndex((other) => sameAddress(one, other)) === at)
}

/** Addresses that a ban may cover only after a closer look, except those of ownPeers. */
export interface Delicate {
  /** Of this host. */
  readonly own: readonly Protected[]
  /** Default gateways, resolvers and SSH clients. */
  readonly peers: readonly Address[]
}

export async function readDelicate(): Promise<Delicate> {
  const [{ own, peers }, sessions, resolvers] = await Promise.all([ownNetwork(), sessionPeers(), readResolvers()])
  return { own, peers: [...peers, ...sessions, ...resolvers] }
}
