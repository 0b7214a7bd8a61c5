// Addresses that a ban must not cover by accident: those of the host, its default gateways, and SSH clients. Such a ban
// would cut off the host, or the user who typed it.

import { readFile } from 'node:fs/promises'
import { list, optional, record, type ShapeOf, text } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import type { Address } from '../../model/address.ts'
import type { Protected } from '../../model/ban.ts'
import type { SocketEnd } from '../../model/live.ts'
import { parseAddress } from '../../model/text.ts'
import { askIp, askIpBatch } from '../tools/ip.ts'
import { CommandError } from '../tools/spawn.ts'

const SSH_PORT = 22
/** include/net/tcp_states.h TCP_ESTABLISHED, as /proc/net/tcp prints it. */
const ESTABLISHED = '01'

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

/** IPv6 sockets show an IPv4 peer inside ::ffff:0:0/96; its packets are IPv4. */
function unmapped(words: Uint32Array): Uint32Array {
  const isMapped = words.length === 4 && words[0] === 0 && words[1] === 0 && words[2] === 0xffff
  return isMapped ? words.slice(3) : words
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

/** Parses `0100007F`, or four such words: each is a number in host byte order whose bytes are in network order. */
function wordsOfHex(hex: string): Uint32Array {
  const bytes = Buffer.from(hex, 'hex')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return unmapped(Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(i * 4, LITTLE_ENDIAN)))
}

/** Both addresses of established connections to local port 22, from the text of /proc/net/tcp or tcp6. */
function sshConnections(table: string): { readonly local: Uint32Array; readonly peer: Uint32Array }[] {
  return table.split('\n').flatMap((line) => {
    const match = /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):[0-9A-F]{4} ([0-9A-F]{2}) /.exec(line)
    if (!match || Number.parseInt(match[2] as string, 16) !== SSH_PORT || match[4] !== ESTABLISHED) return []
    return [{ local: wordsOfHex(match[1] as string), peer: wordsOfHex(match[3] as string) }]
  })
}

/** Peers of established connections to local port 22, from the text of /proc/net/tcp or tcp6. */
export const sshPeers = (table: string): Protected[] =>
  sshConnections(table).map(({ peer }) => ({ address: peer, what: 'the peer of an SSH connection to this host' }))

// A kernel without IPv6 has no tcp6.
const socketTable = (table: 'tcp' | 'tcp6'): Promise<string> =>
  readFile(`/proc/self/net/${table}`, 'utf8').catch(() => '')

const sshPeersOf = async (table: 'tcp' | 'tcp6'): Promise<Protected[]> => sshPeers(await socketTable(table))

const addressOf = (words: Uint32Array): Address => ({ family: words.length === 1 ? 4 : 6, words })

/** The server end of SSH_CONNECTION (`client port server port`), which also covers an sshd on another port than 22. */
function ownSshEnd(): SocketEnd[] {
  const [, , server, port] = process.env['SSH_CONNECTION']?.split(' ') ?? []
  const address = server === undefined ? undefined : parseAddress(server)
  return address && port !== undefined ? [{ address: addressOf(unmapped(address.words)), port: Number(port) }] : []
}

/** The local ends of SSH connections: those to port 22, and the one that this command runs in. */
export async function readSshEnds(): Promise<readonly SocketEnd[]> {
  const tables = await Promise.all([socketTable('tcp'), socketTable('tcp6')])
  const known = tables.flatMap(sshConnections).map(({ local }) => ({ address: addressOf(local), port: SSH_PORT }))
  return [...ownSshEnd(), ...known]
}

/** The SSH client that started this command, if the variables of sshd are still set. */
export const ownPeers = (): Protected[] =>
  ['SSH_CLIENT', 'SSH_CONNECTION'].flatMap((name) =>
    protect(process.env[name]?.split(' ')[0], 'your own SSH connection'),
  )

/** All addresses that a ban must not cover without --force, except those of ownPeers. */
export async function protectedAddresses(): Promise<readonly Protected[]> {
  const found = await Promise.all([ownNetwork(), sshPeersOf('tcp'), sshPeersOf('tcp6')])
  return found.flat()
}
