// The sockets of this network namespace, from /proc/net: one read for each table, and no tool that may be missing.

import { readFile } from 'node:fs/promises'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { type Address, isLoopback } from '../../model/address.ts'
import type { Connection } from '../../model/contact.ts'
import type { SocketEnd } from '../../model/live.ts'
import { sameAddress } from '../../model/text.ts'

/** include/net/tcp_states.h, as /proc/net/tcp and /proc/net/udp print them. A connected UDP socket is ESTABLISHED. */
const ESTABLISHED = '01'
const SYN_RECV = '03'
export const LISTEN = '0A'
const UNCONNECTED = '07'

const TABLES = ['tcp', 'tcp6', 'udp', 'udp6'] as const
type Table = (typeof TABLES)[number]

/** Connections that are judged: more would take seconds. Those to the SSH port come first. */
const MOST = 1 << 17

export const SSH_PORT = 22

/** IPv6 sockets show an IPv4 peer inside ::ffff:0:0/96; its packets are IPv4. */
export function unmapped(words: Uint32Array): Uint32Array {
  const isMapped = words.length === 4 && words[0] === 0 && words[1] === 0 && words[2] === 0xffff
  return isMapped ? words.slice(3) : words
}

export const addressOf = (words: Uint32Array): Address => ({ family: words.length === 1 ? 4 : 6, words })

const swapped = (word: number): number =>
  ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24)) >>> 0

/** Parses `0100007F`, or four such words: each is a number in host byte order whose bytes are in network order. */
function wordsOfHex(hex: string): Uint32Array {
  const words = Uint32Array.from({ length: hex.length / 8 }, (_, i) => {
    const word = Number.parseInt(hex.slice(i * 8, i * 8 + 8), 16)
    return LITTLE_ENDIAN ? swapped(word) : word
  })
  return unmapped(words)
}

/** A row of a table. The peer of a socket that is not connected has port 0. */
export interface Row {
  readonly local: SocketEnd
  readonly peer: SocketEnd
  readonly state: string
  readonly inode: number
}

const ROW =
  /^ *\d+: ([0-9A-F]{8,32}):([0-9A-F]{4}) ([0-9A-F]{8,32}):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+ +\d+ +\d+ (\d+)/gm

const end = (hex: string, port: string): SocketEnd => ({
  address: addressOf(wordsOfHex(hex)),
  port: Number.parseInt(port, 16),
})

/** The rows of the text of /proc/net/tcp, tcp6, udp or udp6 in these states. */
export function parseSockets(text: string, states: readonly string[]): Row[] {
  const rows: Row[] = []
  for (const [, local = '', localPort = '', peer = '', peerPort = '', state = '', inode] of text.matchAll(ROW)) {
    if (!states.includes(state)) continue
    rows.push({ local: end(local, localPort), peer: end(peer, peerPort), state, inode: Number(inode) })
  }
  return rows
}

// A kernel without IPv6 has no tcp6.
export const readTable = (table: Table): Promise<string> => readFile(`/proc/self/net/${table}`, 'utf8').catch(() => '')

/** Established connections to local port 22, from the text of /proc/net/tcp or tcp6. */
export const sshRows = (text: string): Row[] =>
  parseSockets(text, [ESTABLISHED]).filter(({ local }) => local.port === SSH_PORT)

/** The local ports of the text of a table on which this host accepts connections. */
const listening = (rows: readonly Row[]): ReadonlySet<number> =>
  new Set(rows.flatMap(({ state, local }) => (state === LISTEN ? [local.port] : [])))

const sameEnd = (left: SocketEnd, right: SocketEnd): boolean =>
  left.port === right.port && sameAddress(left.address, right.address)

/** Both ends of a connection: that of the peer, and that of this host. */
export interface Ends {
  readonly peer: SocketEnd
  readonly local: SocketEnd
}

export interface Sockets {
  readonly connections: readonly Connection[]
  /** Number of further ones. */
  readonly omitted: number
}

/** The session that runs this command: its connections, and the inodes of its sockets that are not connected. */
interface OwnSession {
  readonly connections: readonly Ends[]
  readonly roaming: ReadonlySet<number>
}

/** A port of a client (RFC 6335 §6). */
const CLIENT_PORT = 49_152

/** Packets of the user of mosh: to the port of its server, from the address of the SSH connection that started it. */
const roamingOf = (rows: readonly Row[], { connections, roaming }: OwnSession): Connection[] =>
  rows.flatMap(({ state, local: { port }, inode }) => {
    if (state !== UNCONNECTED || !roaming.has(inode)) return []
    return connections.slice(0, 1).map(({ peer, local }) => ({
      ...({ kind: 'connection', protocol: 'udp', isInbound: true, isSession: true, inode } as const),
      ...{ peer: peer.address, peerPort: CLIENT_PORT, local: local.address, localPort: port },
    }))
  })

/** Connections with other hosts, from the texts of the tables by name. */
export function connectionsOf(texts: ReadonlyMap<Table, string>, session: OwnSession): Sockets {
  const found: Connection[] = []
  for (const protocol of ['tcp', 'udp'] as const) {
    const states = protocol === 'tcp' ? [ESTABLISHED, SYN_RECV, LISTEN] : [ESTABLISHED, UNCONNECTED]
    const rows = [protocol, `${protocol}6` as const].flatMap((name) => parseSockets(texts.get(name) ?? '', states))
    const ports = listening(rows)
    found.push(...roamingOf(rows, session))
    for (const { local, peer, state, inode } of rows) {
      if (state === LISTEN || peer.port === 0 || isLoopback(peer.address)) continue
      found.push({
        kind: 'connection',
        protocol,
        peer: peer.address,
        peerPort: peer.port,
        local: local.address,
        localPort: local.port,
        isInbound: protocol === 'tcp' && ports.has(local.port),
        inode,
        isSession: session.connections.some((own) => sameEnd(own.peer, peer) && sameEnd(own.local, local)),
      })
    }
  }
  if (found.length <= MOST) return { connections: found, omitted: 0 }
  const isFirst = ({ isSession, isInbound, localPort }: Connection): boolean =>
    isSession || (isInbound && localPort === SSH_PORT)
  const sorted = [...found.filter(isFirst), ...found.filter((one) => !isFirst(one))]
  return { connections: sorted.slice(0, MOST), omitted: found.length - MOST }
}

export async function readConnections(session: OwnSession): Promise<Sockets> {
  const texts = await Promise.all(TABLES.map(async (name) => [name, await readTable(name)] as const))
  return connectionsOf(new Map(texts), session)
}
