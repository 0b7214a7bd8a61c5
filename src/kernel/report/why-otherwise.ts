// The entries, limits and others that decide otherwise about some packets of an address than `why` says of one.

import type { TestPacket } from '../../abi/packet.ts'
import type { Desired } from '../../model/desired.ts'
import { ICMP_OF } from '../../model/ports.ts'
import { portsText, protocolsText } from '../../model/service.ts'
import { type State, scopeKey } from '../../model/state.ts'
import { formatAddress } from '../../model/text.ts'
import type { Verdict } from '../../report/reason.ts'
import type { Covering, OtherwiseCase } from '../../report/result.ts'
import type { Ingress, Match } from '../../semantics/judge.ts'
import { type Otherwise, otherwiseOf } from '../../semantics/otherwise.ts'
import type { Question } from '../../semantics/question.ts'

/** The fields that the question names. */
export function questionOf(packet: TestPacket): Question {
  const { source, destination, protocol, sourcePort, destinationPort, tcpFlags, icmp } = packet
  const { length, ttl, dscp, fragment, vlan } = packet
  return {
    source,
    destination: destination?.words,
    protocol: protocol === 'icmp' ? ICMP_OF[source.family] : protocol,
    ...{ sourcePort, destinationPort, tcpFlags, icmp, length, ttl, dscp, fragment, vlan },
  }
}

type Place = (match: Match) => Pick<Covering, 'prefix' | 'at' | 'about'>

const NOWHERE = { name: undefined, prefix: undefined, at: undefined } as const

const segmentsText = ({ verdict, ports }: Extract<Otherwise, { kind: 'syn_protection' }>): string =>
  verdict === 'tx'
    ? `SYNs to port ${ports}, while they are answered`
    : `acknowledgments to port ${ports} without a valid cookie, while SYNs are answered`

function caseOf(one: Otherwise, place: Place, desired: Desired | undefined): OtherwiseCase {
  const { kind, verdict } = one
  switch (kind) {
    case 'entry': {
      const { prefix, at } = place(one)
      return { kind: one.list.kind, verdict, name: one.list.name, packets: scopeKey(one.set.scope), prefix, at }
    }
    case 'rate_limit': {
      const { name, scope } = one.limit
      const at = desired?.provenance.rateLimits.get(name)
      return { kind, verdict, name, packets: scopeKey(scope), prefix: undefined, at: at && `${at.file}:${at.line}` }
    }
    case 'service': {
      const { vip, name } = one.service
      const at = desired?.provenance.services.get(name)?.at
      const packets = `${protocolsText(one.service)} to ${formatAddress(vip.family, vip.words)} port ${portsText(one.service)}`
      return { kind, verdict, name, packets, prefix: undefined, at: at && `${at.file}:${at.line}` }
    }
    case 'anomaly':
      return { ...NOWHERE, kind, verdict, name: one.name, packets: 'those with the anomaly' }
    case 'syn_protection':
      return { ...NOWHERE, kind, verdict, packets: segmentsText(one) }
    case 'essential':
      return { ...NOWHERE, kind, verdict, packets: one.groups.join(', ') }
    case 'ban':
      return { ...NOWHERE, kind, verdict, packets: 'any' }
    case 'unparsed':
      return { ...NOWHERE, kind, verdict, packets: 'those that cannot be parsed' }
    case 'default':
      return { ...NOWHERE, kind, verdict, packets: 'all others' }
    default:
      return one satisfies never
  }
}

/**
 * The cases that decide otherwise than the verdict.
 *
 * @param place of an entry
 */
export const casesOf = (
  state: State,
  packet: TestPacket,
  verdict: Verdict,
  {
    ingress,
    isBanned,
    place,
    desired,
  }: {
    readonly ingress: Ingress
    readonly isBanned: boolean
    readonly place: Place
    readonly desired: Desired | undefined
  },
): OtherwiseCase[] =>
  otherwiseOf(state, questionOf(packet), verdict, ingress, isBanned).map((one) => caseOf(one, place, desired))

/** Whether a ban of the source would decide about some of the packets. */
export const maybeBanned = (state: State, packet: TestPacket, ingress: Ingress): boolean =>
  otherwiseOf(state, questionOf(packet), 'pass', ingress, true).some(({ kind }) => kind === 'ban')
