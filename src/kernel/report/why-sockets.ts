// The answer of the kernel's sockets about the packet of a `why`, by the loaded program.

import { REASON } from '../../abi/generated.ts'
import type { TestPacket } from '../../abi/packet.ts'
import { TCP } from '../../model/ports.ts'
import { socketlessScopes } from '../../model/scope.ts'
import type { State } from '../../model/state.ts'
import type { Circumstances } from '../../semantics/judge.ts'
import type { explainPacket } from '../live/probe.ts'

type Explained = Awaited<ReturnType<typeof explainPacket>>[number]

/** An answer of the program. */
export interface Asked extends Explained {
  /** The packet is dropped because this host has no socket for it. */
  readonly isSocketless?: boolean
}

/** Reasons that connections of this host are excepted from. */
const DROPPED: readonly number[] = [REASON.BLOCKLIST, REASON.DEFAULT_DROP]

/** Whether the packet names both ends of a TCP connection. */
const isTuple = ({ protocol, destination, sourcePort, destinationPort }: TestPacket): boolean =>
  protocol === TCP && destination !== undefined && sourcePort !== undefined && destinationPort !== undefined

/**
 * The answer for the first packet of a connection, or for one within it where that passes by its socket, or is dropped for
 * want of one: the two packets differ in nothing else.
 */
function oneOf(first: Explained, within: Explained | undefined): Asked {
  if (within?.explanation.reason === REASON.ESTABLISHED) return within
  const isSocketless = first.verdict === 'pass' && within?.explanation.reason === REASON.BLOCKLIST
  return isSocketless ? { ...within, isSocketless } : first
}

/**
 * Asks about a packet, on each of its interfaces.
 *
 * @param state the live one
 */
export async function askWithSockets(
  ask: (packet: TestPacket) => Promise<readonly Explained[]>,
  packet: TestPacket,
  state: Pick<State, 'lists'>,
): Promise<readonly Asked[]> {
  const first = await ask(packet)
  const isDropped = first.some(({ explanation }) => DROPPED.includes(explanation.reason))
  // The kernel is not asked about a SYN, so the question needs a packet within the connection.
  if (!isTuple(packet) || !(isDropped || socketlessScopes(state).length > 0)) return first
  const within = await ask({ ...packet, isWithin: true })
  return first.map((answer, at) => oneOf(answer, within[at]))
}

/** For the model. */
export const socketsOf = ({ explanation, isSocketless }: Asked): Circumstances => ({
  own: explanation.reason === REASON.ESTABLISHED,
  socketless: isSocketless,
  answered: explanation.reason === REASON.SYN_ANSWERED,
})
