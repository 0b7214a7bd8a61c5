// The SSH connections that confirm an apply: new ones from the address of the user who runs it. A connection that there was
// before the switch proves nothing, because it may live on where no new one can be made.

import { fail } from '../../diagnostics.ts'
import { isLoopback } from '../../model/address.ts'
import type { ConfirmOn } from '../../model/confirmation.ts'
import { formatAddress, sameAddress } from '../../model/text.ts'
import { ownSession, sshSockets } from './processes.ts'
import { ownPeers, readOwnAddresses } from './protect.ts'
import { LISTEN, parseSockets, type Row, readTable, SSH_PORT } from './sockets.ts'

/** States of sockets, as in sockets.ts: all, and those that a connection has once both sides have agreed on it. */
const ANY = ['01', '02', '03', '04', '05', '06', '07', '08', '09', '0A', '0B', '0C']
const MADE = ['01', '04', '05', '06', '08', '09', '0B']

const readRows = async (states: readonly string[]): Promise<Row[]> => {
  const texts = await Promise.all([readTable('tcp'), readTable('tcp6')])
  return texts.flatMap((text) => parseSockets(text, states))
}

/** Ports on which SSH servers listen. */
const listening = (rows: readonly Row[]): number[] => {
  const servers = sshSockets()
  return rows.filter(({ inode }) => servers.has(inode)).map(({ local }) => local.port)
}

/**
 * The connections that would confirm: from the addresses of the session that runs this command to the port of that session,
 * and to those of SSH servers. Throws E260 if no session from another host runs it.
 */
export async function readConfirmOn(): Promise<ConfirmOn> {
  const { connections } = ownSession()
  const peers = [...connections.map(({ peer }) => peer.address), ...ownPeers()]
  const own = peers.length > 0 ? await readOwnAddresses() : []
  const others = peers.filter((peer) => !isLoopback(peer) && !own.some((one) => sameAddress(one, peer)))
  if (others.length === 0) {
    const [nearest] = peers
    const why = nearest
      ? `the SSH session of this command comes from this host itself (${formatAddress(nearest.family, nearest.words)})`
      : 'this command runs in no SSH session'
    const hint = 'log in from another host, or confirm by a command: xdp apply --confirm 2m'
    throw fail('E260', `--confirm-on ssh waits for a new SSH connection of its user, but ${why}`, hint)
  }
  const ports = [...connections.map(({ local }) => local.port), ...listening(await readRows([LISTEN]))]
  return {
    addresses: [...new Set(others.map(({ family, words }) => formatAddress(family, words)))],
    ports: [...new Set(ports.length > 0 ? ports : [SSH_PORT])].sort((left, right) => left - right),
  }
}

/** Both ends of a connection as text. */
const keyOf = ({ local, peer }: Row): string =>
  [peer, local].map(({ address: { family, words }, port }) => `${formatAddress(family, words)} ${port}`).join(' ')

const readLogins = async ({ addresses, ports }: ConfirmOn, states: readonly string[]): Promise<string[]> =>
  (await readRows(states))
    .filter(({ local, peer }) => ports.includes(local.port) && addresses.includes(textOf(peer)))
    .map(keyOf)

const textOf = ({ address: { family, words } }: Row['peer']): string => formatAddress(family, words)

/** The connections of these addresses that there are, in any state. */
export const knownLogins = (on: ConfirmOn): Promise<string[]> => readLogins(on, ANY)

/** Whether there is a connection that confirms, and that was not there before. */
export async function hasNewLogin({
  on,
  seen,
}: {
  readonly on?: ConfirmOn | undefined
  readonly seen?: readonly string[]
}): Promise<boolean> {
  if (!on || !seen) return false
  const known = new Set(seen)
  return (await readLogins(on, MADE)).some((key) => !known.has(key))
}
