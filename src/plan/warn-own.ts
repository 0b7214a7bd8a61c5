// Warns if the policy drops the answers to connections of this host itself: the filter keeps no state of them.

import type { Diagnostic } from '../diagnostics.ts'
import type { Ranges } from '../model/address.ts'
import { TCP, UDP } from '../model/ports.ts'
import type { ScopedSet, State } from '../model/state.ts'
import { inScope } from '../semantics/judge.ts'

/** The first port that Linux picks for connections of its own (net.ipv4.ip_local_port_range). */
const EPHEMERAL = 32_768

/** Kinds of answers: their words, protocol, and the ports they come from. */
const ANSWERS = [
  { words: 'TCP connections', protocol: TCP, ports: [22, 80, 443, 8443] },
  { words: 'DNS queries', protocol: UDP, ports: [53] },
  { words: 'NTP queries', protocol: UDP, ports: [123] },
] as const

const isEverything = ({ length, start, end }: Ranges): boolean =>
  length === 1 && start.every((word) => word === 0) && end.every((word) => word === 0xffffffff)

/** Whether a set of an allowlist lets such answers pass: from everywhere, or because it names their ports. */
const covers = ({ scope, addresses }: ScopedSet, { protocol, ports }: (typeof ANSWERS)[number]): boolean =>
  (scope.sourcePorts.length > 0 || isEverything(addresses.v4) || isEverything(addresses.v6)) &&
  ports.every((source) =>
    inScope(scope, {
      kind: 'ip',
      family: 4,
      source: new Uint32Array(1),
      protocol,
      ports: { source, destination: EPHEMERAL },
      essential: undefined,
      unparsed: undefined,
    }),
  )

/** One warning at most. An empty allowlist has a warning of its own. */
export function warnOwn({ policy, lists, interfaces }: State): Diagnostic[] {
  const filters = [...interfaces.values()].some(({ roles }) => roles.includes('filter'))
  const allowed = [...lists.values()].filter(({ kind }) => kind === 'allowlist').flatMap(({ sets }) => sets)
  if (policy?.default !== 'drop' || !filters || allowed.length === 0) return []
  const dropped = ANSWERS.filter((answer) => !allowed.some((set) => covers(set, answer))).map(({ words }) => words)
  if (dropped.length === 0) return []
  const list = new Intl.ListFormat('en-GB').format(dropped)
  return [
    {
      code: 'W225',
      severity: 'warning',
      message: `policy.default is drop: answers to ${list} of this host pass only from sources in the allowlist`,
      hint: 'add its peers, resolvers and time servers, for example `{ cidr: 192.0.2.53, protocol: udp, source_port: 53 }`',
    },
  ]
}
