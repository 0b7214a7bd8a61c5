// Warns if the policy drops the answers to connections of this host itself, or to those that it forwards.

import type { Diagnostic } from '../diagnostics.ts'
import type { Ranges } from '../model/address.ts'
import type { Live } from '../model/live.ts'
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

/** Words of the answers that an interface drops, unless they are of connections that this host opened. */
function droppedOn(names: readonly string[], allowed: readonly ScopedSet[]): string[] {
  const isDropped = (answer: Answers): boolean =>
    names.some((name) => !allowed.some((set) => covers(set, answer, name)))
  return ANSWERS.filter(isDropped).map(({ words }) => words)
}

/** Forwarded packets have no socket here. */
function warnForwarded({ forwards }: Live, dropped: readonly string[]): Diagnostic[] {
  const families = [...(forwards.v4 ? ['IPv4'] : []), ...(forwards.v6 ? ['IPv6'] : [])].join(' and ')
  if (families === '' || dropped.length === 0) return []
  const key = forwards.v4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding'
  return [
    {
      code: 'W231',
      severity: 'warning',
      message: `this host forwards ${families}: forwarded packets have no socket here, so under default drop they pass only from sources in the allowlist, and answers to containers too`,
      hint: `add those peers to allowlist, or run \`sysctl -w ${key}=0\` if nothing needs forwarding`,
    },
  ]
}

/** One warning at most. Interfaces without an allowlist entry have a warning of their own. */
export function warnOwn({ policy, lists, interfaces }: State, live: Live): Diagnostic[] {
  if (policy?.default !== 'drop') return []
  const allowed = [...lists.values()].flatMap(({ kind, sets }) => (kind === 'allowlist' ? sets : []))
  const filtering = [...interfaces.values()].flatMap(({ interface: name, roles }) =>
    roles.includes('filter') ? [name] : [],
  )
  if (policy.established === 'pass') return warnForwarded(live, droppedOn(filtering, allowed))
  const open = filtering.filter((name) => allowed.some(({ scope }) => coversInterface(scope, name)))
  const dropped = droppedOn(open, allowed)
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
