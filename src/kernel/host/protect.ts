// Addresses that a ban must not cover by accident: those of the host, its default gateways, its
// resolvers, and SSH clients. Such a ban
// would cut off the host, or the user who typed it.

import { list, optional, record, type ShapeOf, text } from '../../abi/answer.ts'
import type { Address } from '../../model/address.ts'
import type { Protected } from '../../model/ban.ts'
import type { SocketEnd } from '../../model/live.ts'
import { parseAddress } from '../../model/text.ts'
import { askIp, askIpBatch } from '../tools/ip.ts'
import { CommandError } from '../tools/spawn.ts'
import { readResolvers } from './contacts.ts'
import { endsOf, ownSession, sshSockets } from './processes.ts'
import { readConnections, readTable, sshRows, unmapped } from './sockets.ts'

const ownInfo = optional(list(record({ local: optional(text) })))
const addresses = list(record({ ifname: text, addr_info: ownInfo }))
const optionalAddresses = { ifname: optional(text), addr_info: ownInfo }

const hop = {
  gateway: optional(text),
  /** A gateway of the other family (RFC 5549). */
  via: optional(record({ host: optional(text) })),
}
const hops = { ...hop, nexthops: optional(list(record(hop))) }

const protect = (text: string | undefined, what: string): Protected[] => {
  const address = text === undefined ? undefined : parseAddress(text)
  return address ? [{ address: unmapped(address.words), what }] : []
}

/** All addresses of this host in this namespace, with their interface. */
const addressesByInterface = (): Promise<ShapeOf<typeof addresses>> => askIp(addresses, 'addr', 'show')

/** All addresses of this host in this namespace. */
export async function readOwnAddresses(): Promise<readonly Address[]> {
  const links = await addressesByInterface()
  return links.flatMap(({ addr_info = [] }) =>
    addr_info.flatMap(({ local }) => (local === undefined ? [] : (parseAddress(local) ?? []))),
  )
}

/** An interface with its addresses, or a route. */
const network = list(record({ ...optionalAddresses, ...hops }))
type Network = ShapeOf<typeof network>

function ownAddresses(links: Network): Protected[] {
  return links.flatMap(({ ifname, addr_info = [] }) =>
    addr_info.flatMap(({ local }) => protect(local, `an address of this host, on ${ifname}`)),
  )
}

function gateways(routes: Network): Protected[] {
  return routes.flatMap((route) =>
    [route, ...(route.nexthops ?? [])].flatMap(({ gateway, via }) =>
      protect(gateway ?? via?.host, 'the default gateway'),
    ),
  )
}

/** Addresses of this host and its default gateways in every routing table, from one ip process. */
async function ownNetwork(): Promise<Protected[]> {
  const lines = ['addr show', 'route show table all default']
  const rows = (await askIpBatch(network, lines)).flatMap(({ output, error }, i) => {
    if (error !== undefined) throw new CommandError(`ip ${lines[i]}`, 1, error)
    return output
  })
  return [...ownAddresses(rows), ...gateways(rows)]
}

const SSH_PEER = 'the peer of an SSH connection to this host'

/** Peers of established connections to local port 22, from the text of /proc/net/tcp or tcp6. */
export const sshPeers = (table: string): Protected[] =>
  sshRows(table).map(({ peer }) => ({
    address: peer.address.words,
    what: SSH_PEER,
  }))

/** Peers of SSH servers on any port, and those of the session of this command. */
async function sessionPeers(): Promise<Protected[]> {
  const tables = await Promise.all([readTable('tcp'), readTable('tcp6')])
  const { connections } = await readConnections(ownSession())
  const servers = sshSockets()
  const found = connections.filter(
    ({ isSession, isInbound, inode }) => isSession || (isInbound && inode !== 0 && servers.has(inode)),
  )
  return [...tables.flatMap(sshPeers), ...found.map(({ peer }) => ({ address: peer.words, what: SSH_PEER }))]
}

const resolvers = async (): Promise<Protected[]> =>
  (await readResolvers()).map(({ words }) => ({ address: words, what: 'a resolver of this host' }))

/** The server end of SSH_CONNECTION, which also covers an sshd on another port than 22. */
const ownSshEnd = (): SocketEnd[] => endsOf(process.env['SSH_CONNECTION']).map(({ local }) => local)

/** The local ends of SSH connections: those to port 22, and the one that this command runs in. */
export async function readSshEnds(): Promise<readonly SocketEnd[]> {
  const tables = await Promise.all([readTable('tcp'), readTable('tcp6')])
  return [...ownSshEnd(), ...tables.flatMap(sshRows).map(({ local }) => local)]
}

/** The SSH client that started this command, if the variables of sshd are still set. */
export const ownPeers = (): Protected[] =>
  ['SSH_CLIENT', 'SSH_CONNECTION'].flatMap((name) =>
    protect(process.env[name]?.split(' ')[0], 'your own SSH connection'),
  )

/** All addresses that a ban must not cover without --force, except those of ownPeers. */
export async function protectedAddresses(): Promise<readonly Protected[]> {
  const found = await Promise.all([ownNetwork(), sessionPeers(), resolvers()])
  return found.flat()
}
