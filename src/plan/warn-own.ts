// Warns if the policy drops the answers to connections of this host itself.

import type { Diagnostic } from '../diagnostics.ts'
import type { Ranges } from '../model/address.ts'
import { TCP, UDP } from '../model/ports.ts'
import { coversInterface } from '../model/scope.ts'
import type { ScopedSet, State } from '../model/state.ts'
import { inScope, TEST_INGRESS } from '../semantics/judge.ts'

/** The first port that Linux picks for connections of its own (net.ipv4.ip_local_port_range). */
const EPHEMERAL = 32_768

/** Kinds of answers: their words, protocol, and the ports they come from. */
const ANSWERS = [
  { words: 'TCP connections', protocol: TCP, ports: [22, 80, 443, 8443] },
  { words: 'DNS queries', protocol: UDP, ports: [53] },
  { words: 'NTP queries', protocol: UDP, ports: [123] },
] as const

type Answers = (typeof ANSWERS)[number]

const isEverything = ({ length, start, end }: Ranges): boolean =>
  length === 1 && start.every((word) => word === 0) && end.every((word) => word === 0xffffffff)

/** Whether a set of an allowlist lets such answers pass: from everywhere, or because it names their ports. */
function covers({ scope, addresses }: ScopedSet, { protocol, ports }: Answers, name: string): boolean {
  const ingress = { ...TEST_INGRESS, interface: name }
  const facts = { kind: 'ip', family: 4, source: new Uint32Array(1), protocol } as const
  const rest = { essential: undefined, unparsed: undefined }
  return (
    (scope.sourcePorts.length > 0 || isEverything(addresses.v4) || isEverything(addresses.v6)) &&
    ports.every((source) => {
      const answer = { ...facts, ...rest, ports: { source, destination: EPHEMERAL } }
      return inScope(scope, 'allowlist', answer, ingress)
    })
  )
}

/** One warning at most. Interfaces without an allowlist entry have a warning of their own. */
export function warnOwn({ policy, lists, interfaces }: State): Diagnostic[] {
  if (policy?.default !== 'drop' || policy.established === 'pass') return []
  const allowed = [...lists.values()].flatMap(({ kind, sets }) => (kind === 'allowlist' ? sets : []))
  const open = [...interfaces.values()].filter(
    ({ interface: name, roles }) =>
      roles.includes('filter') && allowed.some(({ scope }) => coversInterface(scope, name)),
  )
  const isDropped = (answer: Answers): boolean =>
    open.some(({ interface: name }) => !allowed.some((set) => covers(set, answer, name)))
  const dropped = ANSWERS.filter(isDropped).map(({ words }) => words)
  if (dropped.length === 0) return []
  const list = new Intl.ListFormat('en-GB').format(dropped)
  return [
    {
      code: 'W225',
      severity: 'warning',
      message: `policy.established is judge: answers to ${list} of this host pass only from sources in the allowlist`,
      hint: 'write `established: pass` under `policy`, or add its peers, resolvers and time servers to allowlist',
    },
  ]
}
