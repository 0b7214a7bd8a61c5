// Which limits may count packets of a group (struct rate_candidates): the data plane looks at no others. See rate_group in
// bpf/include/rate_match.h.

import {
  LINE_SIZE,
  MATCH_CONDITION,
  RATE_GROUPS,
  RATE_GROUPS_A_LINE,
  RATE_PORTS,
  RATE_PROTOCOLS,
  type RateCandidates,
  RULE_FLAG,
  rateCandidatesCodec,
} from '../../abi/generated.ts'
import { PROTOCOL_NUMBERS } from '../../model/ports.ts'
import type { WrittenRule } from '../classes/rules.ts'
import { viewOf } from '../lines/lines.ts'

export const CANDIDATE_LINES = RATE_GROUPS / RATE_GROUPS_A_LINE

const portGroup = (port: number): number => (port ^ (port >> 6) ^ (port >> 12)) & (RATE_PORTS - 1)
const protocolGroup = (protocol: number): number =>
  2 * RATE_PORTS + ((protocol ^ (protocol >> 3)) & (RATE_PROTOCOLS - 1))

/** Ports that are enough to meet every group. */
const SOME_PORTS = 2 ** 16 - 1

function portGroups(first: number, last: number): ReadonlySet<number> {
  const groups = new Set<number>()
  for (let port = first; port <= last && groups.size < RATE_PORTS; port++) groups.add(portGroup(port))
  return groups
}

/** Destination ports that a rule names; undefined: it also counts packets without ports. */
function portsOf({ rule, match }: WrittenRule): ReadonlySet<number> | undefined {
  if (rule.flags & RULE_FLAG.PORTS) return portGroups(rule.destination_first, rule.destination_last)
  if (match && match.line.conditions & MATCH_CONDITION.PORTS)
    return portGroups(match.line.destination_first, match.line.destination_last)
  return undefined
}

/** Groups whose packets a rule may count, and some in which it counts none. */
function groupsOf(written: WrittenRule): number[] {
  const { flags, protocol4, protocol6 } = written.rule
  const isOf = (protocol: number): boolean =>
    !(flags & RULE_FLAG.PROTOCOL) || protocol4 === protocol || protocol6 === protocol
  const ports = portsOf(written)
  const groups = [...(ports ?? portGroups(0, SOME_PORTS))]
  const tcp = isOf(PROTOCOL_NUMBERS.tcp) ? groups : []
  const udp = isOf(PROTOCOL_NUMBERS.udp) ? groups.map((group) => RATE_PORTS + group) : []
  if (ports) return [...tcp, ...udp]
  const others =
    flags & RULE_FLAG.PROTOCOL
      ? [protocolGroup(protocol4), protocolGroup(protocol6)]
      : Array.from({ length: RATE_PROTOCOLS }, (_, i) => 2 * RATE_PORTS + i)
  return [...tcp, ...udp, ...others]
}

/** Bits of the limits that may count packets of each group, by the rules of each limit. */
export function candidatesOf(limits: readonly (readonly WrittenRule[])[]): bigint[] {
  const bits = Array.from({ length: RATE_GROUPS }, () => 0n)
  for (const [i, rules] of limits.entries())
    for (const group of new Set(rules.flatMap(groupsOf))) bits[group] = (bits[group] as bigint) | (1n << BigInt(i))
  return bits
}

/** Writes lines of struct rate_candidates from a line on. */
export function writeCandidates(words: Uint32Array, line: number, bits: readonly bigint[]): void {
  for (let i = 0; i < CANDIDATE_LINES; i++) {
    const limits = bits.slice(
      i * RATE_GROUPS_A_LINE,
      (i + 1) * RATE_GROUPS_A_LINE,
    ) as unknown as RateCandidates['limits']
    rateCandidatesCodec.encode({ limits }, viewOf(words), (line + i) * LINE_SIZE)
  }
}

/** The bits of each group, from a line on. */
export const readCandidates = (words: Uint32Array, line: number): bigint[] =>
  Array.from({ length: CANDIDATE_LINES }, (_, i) => [
    ...rateCandidatesCodec.decode(viewOf(words), (line + i) * LINE_SIZE).limits,
  ]).flat()
