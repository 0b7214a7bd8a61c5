// Reads the peers that a plan must not cut by accident: live connections, default gateways and resolvers. Also the
// devices on which their packets arrive.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { list, optional, record, type ShapeOf, text } from '../../abi/answer.ts'
import { type Address, isLoopback } from '../../model/address.ts'
import type { Contact, Gateway, Resolver } from '../../model/contact.ts'
import { formatAddress, parseAddress } from '../../model/text.ts'
import { askIpBatch } from '../tools/ip.ts'
import { CommandError } from '../tools/spawn.ts'
import { ownSession } from './processes.ts'
import { addressOf, readConnections, unmapped } from './sockets.ts'

const RESOLV_CONF = '/etc/resolv.conf'
/** systemd-resolved(8): the resolvers behind its own, 127.0.0.53. */
const UPSTREAM = '/run/systemd/resolve/resolv.conf'
const DNS_PORT = 53

/** resolv.conf(5): the library uses the first three. */
const MOST_RESOLVERS = 3

/** The resolvers in the text of a resolv.conf. Without those with a zone, whose address is no packet's source alone. */
export const resolversIn = (content: string): Address[] =>
  content
    .split('\n')
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .slice(0, MOST_RESOLVERS)
    .flatMap((written) => parseAddress(written) ?? [])
    .map(({ words }) => addressOf(unmapped(words)))

const readText = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

/** The resolvers of resolv.conf, and those behind a local one. */
export async function readResolvers(): Promise<Address[]> {
  const written = resolversIn(await readText(RESOLV_CONF))
  const others = written.some(isLoopback) ? resolversIn(await readText(UPSTREAM)) : []
  const found = new Map([...written, ...others].map((one) => [formatAddress(one.family, one.words), one]))
  return [...found.values()].filter((one) => !isLoopback(one))
}

/** A UDP socket that is connected to a resolver, and sends nothing; undefined: no route leads there. */
async function connectTo({ family, words }: Address): Promise<Socket | undefined> {
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6')
  try {
    socket.connect(DNS_PORT, formatAddress(family, words))
    await once(socket, 'connect')
    return socket
  } catch {
    socket.close()
    return undefined
  }
}

const hop = { gateway: optional(text), via: optional(record({ host: optional(text) })), dev: optional(text) }
const routes = list(record({ ...hop, nexthops: optional(list(record(hop))) }))

/** Default gateways of every routing table, each with the device that leads to it. */
async function readGateways(): Promise<Gateway[]> {
  const line = 'route show table all default'
  const [found] = await askIpBatch(routes, [line])
  if (found?.error !== undefined) throw new CommandError(`ip ${line}`, 1, found.error)
  const gateways = (found?.output ?? []).flatMap((route) =>
    [route, ...(route.nexthops ?? [])].flatMap(({ gateway, via, dev }) => {
      const peer = parseAddress(gateway ?? via?.host ?? '')
      return peer && dev !== undefined ? [{ kind: 'gateway', peer, local: undefined, device: dev } as const] : []
    }),
  )
  const byName = gateways.map(
    (one) => [`${one.device} ${formatAddress(one.peer.family, one.peer.words)}`, one] as const,
  )
  return [...new Map(byName).values()]
}

export interface Contacts {
  readonly contacts: readonly Contact[]
  /** Number of live connections among them, and of those left out. */
  readonly connections: number
  readonly omitted: number
}

/**
 * Runs `body` with the contacts of this host. Meanwhile sockets are connected to the resolvers, because a policy may pass
 * answers for their sake. Throws errors of ip.
 */
export async function withContacts<T>(body: (contacts: Contacts) => Promise<T>): Promise<T> {
  const [sockets, gateways, resolvers] = await Promise.all([
    readConnections(ownSession()),
    readGateways(),
    readResolvers(),
  ])
  const opened = await Promise.all(resolvers.map(async (peer) => ({ peer, socket: await connectTo(peer) })))
  try {
    const connected = opened.flatMap(({ peer, socket }): Resolver[] => {
      if (!socket) return []
      const { address, port } = socket.address()
      return [{ kind: 'resolver', peer, local: parseAddress(address), localPort: port }]
    })
    return await body({
      contacts: [...sockets.connections, ...gateways, ...connected],
      connections: sockets.connections.length,
      omitted: sockets.omitted,
    })
  } finally {
    for (const { socket } of opened) socket?.close()
  }
}

const route = list(record({ dev: optional(text) }))

const lineOf = ({ peer, local }: Contact): string => {
  const from = local === undefined ? '' : ` from ${formatAddress(local.family, local.words)}`
  return `route get ${formatAddress(peer.family, peer.words)}${from}`
}

/**
 * The device on which the packets of each contact arrive: that of the route to its peer. undefined: no route leads there.
 * Throws errors of ip.
 */
export async function arrivalsOf(contacts: readonly Contact[]): Promise<(string | undefined)[]> {
  const lines = [...new Set(contacts.flatMap((one) => (one.device === undefined ? [lineOf(one)] : [])))]
  const results = await askIpBatch(route, lines)
  const found = new Map(lines.map((line, i) => [line, deviceOf(results[i]?.output)]))
  return contacts.map((one) => one.device ?? found.get(lineOf(one)))
}

const deviceOf = (output: ShapeOf<typeof route> | undefined): string | undefined => output?.[0]?.dev
