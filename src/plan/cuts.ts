// The live connections and peers that a plan would cut: which of them it may not cut unless the command line allows it,
// and which changes they are the impact of.

import type { Code, Diagnostic } from '../diagnostics.ts'
import { coversAddress } from '../model/ban.ts'
import type { AllowedCuts, Connection, Contact, Cut, Cuts, Guarded } from '../model/contact.ts'
import type { Provenance } from '../model/desired.ts'
import { formatEndpoint } from '../model/endpoint.ts'
import type { ObjectKey } from '../model/live.ts'
import { plural } from '../model/numbers.ts'
import { protocolName } from '../model/ports.ts'
import { originOf } from '../model/provenance.ts'
import { formatAddress, formatRange } from '../model/text.ts'
import type { Change, Plan } from './change.ts'

const CODE: Readonly<Record<Guarded, Code>> = { ssh: 'E226', gateway: 'E227', dns: 'E228', protected: 'E229' }
const GUARDED: readonly Guarded[] = ['ssh', 'gateway', 'dns', 'protected']

const addressText = ({ peer: { family, words } }: Contact): string => formatAddress(family, words)

/** `10.99.0.2:41184 → :22 sshd`, with the arrow in the direction in which the connection was opened. */
export function connectionText({ peer, peerPort, localPort, isInbound }: Connection, owner?: string): string {
  const far = formatEndpoint({ address: formatAddress(peer.family, peer.words), port: peerPort })
  const ends = isInbound ? `${far} → :${localPort}` : `:${localPort} → ${far}`
  return owner === undefined ? ends : `${ends} ${owner}`
}

/** `tcp`, `udp`, `icmp` or a protocol number as text. */
export function protocolOf(contact: Contact): string {
  if (contact.kind === 'gateway') return 'icmp'
  if (contact.kind === 'resolver') return 'udp'
  if (contact.kind === 'client') return 'tcp'
  return typeof contact.protocol === 'number' ? protocolName(contact.protocol) : contact.protocol
}

/** `file:line` of the entry that cuts a contact. */
export const atOf = (
  { contact: { peer }, after: { list } }: Cut,
  provenance: Provenance | undefined,
): string | undefined =>
  provenance && list !== undefined ? originOf(provenance, list, peer.family, peer.words)?.at : undefined

/** A cut as words of a plan: the contact. */
export function contactText({ contact, owner }: Cut): string {
  switch (contact.kind) {
    case 'connection':
      return connectionText(contact, owner)
    case 'client':
      return `your own SSH connection from ${addressText(contact)}`
    case 'gateway':
      return `the default gateway ${addressText(contact)}`
    case 'resolver':
      return `the resolver ${addressText(contact)}`
    case 'time-server':
      return `the time server ${addressText(contact)}`
    case 'next-hop':
      return `the next hop ${addressText(contact)} of backends`
    case 'backend':
      return `health checks of backend ${formatEndpoint({ address: addressText(contact), port: contact.peerPort ?? 0 })} of service ${contact.service}`
    case 'protected': {
      const { by, port } = contact
      const { family, start, end } = by.prefix
      const to = port === undefined ? '' : ` to port ${port}`
      return `${protocolOf(contact)} from ${addressText(contact)}${to}, protected by ${formatRange(family, start, end)}${by.at === undefined ? '' : ` at ${by.at}`}`
    }
    default:
      return contact satisfies never
  }
}

/** Why a contact is cut: `by blocklist xdp.yaml:5`, `by policy.default drop`, `by service web`. */
export function causeText(cut: Cut, provenance: Provenance | undefined): string {
  const { after } = cut
  if (after.service !== undefined) return `by service ${after.service}, whose backends get its packets`
  if (after.list === undefined) return after.reason === 'default-drop' ? 'by policy.default drop' : `by ${after.reason}`
  const at = atOf(cut, provenance)
  return at === undefined ? `by list ${after.list}` : `by ${after.list} ${at}`
}

/** Whether the command line allows it. */
const isAllowed = ({ guarded, contact }: Cut, { all, kinds, prefixes }: AllowedCuts): boolean =>
  guarded === undefined ||
  all ||
  kinds.includes(guarded) ||
  prefixes.some((prefix) => coversAddress(prefix, contact.peer.words))

/** The word for `--allow-cut`. */
const flagOf = ({ guarded, contact }: Cut): string => {
  if (guarded !== 'protected' || contact.kind !== 'protected') return guarded ?? ''
  const { family, start, end } = contact.by.prefix
  return formatRange(family, start, end)
}

const TITLES: Readonly<Record<Guarded, string>> = {
  ssh: 'an SSH session',
  gateway: 'the default gateway',
  dns: 'a resolver',
  protected: 'a protected prefix',
}

const MOST_NAMED = 3

/** Errors for guarded peers that a plan would cut and the command line does not allow; one for each kind. */
export function guardCuts(cuts: Cuts, allowed: AllowedCuts, provenance: Provenance | undefined): Diagnostic[] {
  const refused = cuts.cut.filter((cut) => !isAllowed(cut, allowed))
  return GUARDED.flatMap((kind): Diagnostic[] => {
    const own = refused.filter(({ guarded }) => guarded === kind)
    const [first] = own
    if (first === undefined) return []
    const named = own.slice(0, MOST_NAMED).map((cut) => `${contactText(cut)} ${causeText(cut, provenance)}`)
    const more = own.length > MOST_NAMED ? [`and ${own.length - MOST_NAMED} more`] : []
    const flags = [...new Set(own.map(flagOf))].slice(0, MOST_NAMED).map((word) => `--allow-cut ${word}`)
    return [
      {
        code: CODE[kind],
        severity: 'error',
        message: `this would cut ${TITLES[kind]}: ${[...named, ...more].join('; ')}`,
        hint: `allow its peer in allowlist, or, to cut it anyway, add \`${flags.join(' ')}\``,
      },
    ]
  })
}

const isConnection = ({ contact }: Cut): boolean => contact.kind === 'connection'

/** The change that a cut comes from. */
function causeOf({ before, after, interface: name }: Cut, changes: readonly Change[]): ObjectKey | undefined {
  const wanted: (ObjectKey | undefined)[] = [
    after.list === undefined ? undefined : `list:${after.list}`,
    after.service === undefined ? undefined : `service:${after.service}`,
    // An allowlist lost its entry.
    before.list === undefined ? undefined : `list:${before.list}`,
    'policy',
    `interface:${name}`,
    'program',
  ]
  const keys = new Set(changes.map(({ key }) => key))
  return wanted.find((key) => key !== undefined && keys.has(key)) ?? changes[0]?.key
}

/** The plan with its cuts, each as the impact of the change that it comes from. */
export function withCuts(plan: Plan, cuts: Cuts): Plan {
  const counts = new Map<ObjectKey, number>()
  for (const cut of cuts.cut) {
    const key = causeOf(cut, plan.changes)
    if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + (isConnection(cut) ? 1 : 0))
  }
  const changes = plan.changes.map((change): Change => {
    const count = counts.get(change.key)
    return count === undefined ? change : { ...change, impact: 'cuts', cuts: count }
  })
  return { ...plan, changes, cuts }
}

/** `would cut 3 of 212 live connections`; undefined: nothing is cut. */
export function cutsTitle({ connections, cut }: Cuts): string | undefined {
  if (cut.length === 0) return undefined
  const count = cut.filter(isConnection).length
  const others = cut.length - count
  const parts = [
    ...(count > 0 ? [`would cut ${count} of ${plural(connections, 'live connection')}`] : []),
    ...(others > 0 ? [count > 0 ? `and ${plural(others, 'other peer')}` : `would cut ${plural(others, 'peer')}`] : []),
  ]
  return parts.join(' ')
}
