// The forwarding modes, one record each, which config, planner, tables, oracle, doctor and tests read. This room imports
// nothing. A new mode changes, beside its record here:
//
//   bpf/include/abi_balance.h    its number
//   bpf/include/send.h           its overhead, and the call of its code
//   bpf/include/encap.h          its code (bpf/include/nat.h if it does not encapsulate)
//   schemas/xdp.schema.json      its word, and the descriptions of `forwarding` and of the keys it reads
//   docs/balancer.md             its column in both tables, and the setup of its backends
//   test/support/forwarding.ts   its expected output
//   test/bpf/backend.bpf.c       if its packets need another decapsulation by the backends of test/e2e
//   CHANGELOG.md
//
// `npm run build` makes docs/config.md, `UPDATE_GOLDEN=1 npm run test:unit` the expected errors. If one of these files
// lacks the mode, the build, tsc, test/unit/features/forwarding.test.ts, test/bpf/balance.test.ts or
// test/e2e/balance-forwarding.test.ts fails.

/** Keys of a service in the config that only some modes read. */
export const FORWARDING_KEYS = ['snat', 'snat_pool', 'replies_from', 'gue_port', 'outer_source'] as const
export type ForwardingKey = (typeof FORWARDING_KEYS)[number]

type Family = 4 | 6

export interface ForwardingMode {
  /** Bytes in front of the IP datagram, by the family of the backend; 0 = none. */
  readonly overhead: Readonly<Record<Family, number>>
  /** The packet is routed unwrapped: its TTL is decremented, and it is dropped at 0 (RFC 1812 §5.3.1). */
  readonly decrementsTtl: boolean
  /** Replies of backends come back through this host, which translates them. */
  readonly translatesReplies: boolean
  /** A backend may have another port than the service. */
  readonly rewritesPort: boolean
  /** A backend may be of another family than the VIP. */
  readonly crossesFamilies: boolean
  /** Keys that have an effect. */
  readonly keys: readonly ForwardingKey[]
}

/** Headers of IPv4 without options (RFC 791) and IPv6 (RFC 8200). */
const IP: Readonly<Record<Family, number>> = { 4: 20, 6: 40 }
const UDP = 8
const NONE: Readonly<Record<Family, number>> = { 4: 0, 6: 0 }

/** Keeps the names of modes as a type, but not the values of their fields. */
const modes = <Name extends string>(
  all: Readonly<Record<Name, ForwardingMode>>,
): Readonly<Record<Name, ForwardingMode>> => all

export const FORWARDING_MODES = modes({
  /** Rewrites destination address, port and MACs. */
  nat: {
    overhead: NONE,
    decrementsTtl: true,
    translatesReplies: true,
    rewritesPort: true,
    crossesFamilies: false,
    keys: ['snat', 'snat_pool', 'replies_from'],
  },
  /** Rewrites MACs; the backend has the VIP and answers the client itself. */
  dsr: {
    overhead: NONE,
    decrementsTtl: true,
    translatesReplies: false,
    rewritesPort: false,
    crossesFamilies: false,
    keys: [],
  },
  /** Wraps the packet in another IP packet (RFC 2003, RFC 2473). */
  ipip: {
    overhead: IP,
    decrementsTtl: false,
    translatesReplies: false,
    rewritesPort: false,
    crossesFamilies: true,
    keys: ['replies_from', 'outer_source'],
  },
  /** Wraps the packet in UDP (variant 1 of draft-ietf-intarea-gue). */
  gue: {
    overhead: { 4: IP[4] + UDP, 6: IP[6] + UDP },
    decrementsTtl: false,
    translatesReplies: false,
    rewritesPort: false,
    crossesFamilies: true,
    keys: ['replies_from', 'gue_port', 'outer_source'],
  },
})

/** Name of a mode, as in the config. */
export type Forwarding = keyof typeof FORWARDING_MODES

/** In the order of messages and docs. */
export const FORWARDINGS = Object.keys(FORWARDING_MODES) as readonly Forwarding[]

type Condition = (mode: ForwardingMode) => boolean

const namesThat = (condition: Condition): readonly Forwarding[] =>
  FORWARDINGS.filter((name) => condition(FORWARDING_MODES[name]))

/** Modes that meet a condition, as text: `ipip or gue`. */
export const forwardingsThat = (condition: Condition): string => namesThat(condition).join(' or ')

/** Lines of config that choose such a mode: `forwarding: ipip`, each between backquotes. */
export const forwardingLines = (condition: Condition): string =>
  namesThat(condition)
    .map((name) => `\`forwarding: ${name}\``)
    .join(' or ')

interface Forwarded {
  readonly forwarding: Forwarding
}

/** Bytes that forwarding adds to an IP datagram for a backend. */
export const overheadOf = ({ forwarding }: Forwarded, family: Family): number =>
  FORWARDING_MODES[forwarding].overhead[family]

/** Plain NAT: replies are recognised by the backend's address and port, and routed to the client by this host. */
export const isPlainNat = ({ forwarding, snatPool }: Forwarded & { readonly snatPool: readonly unknown[] }): boolean =>
  FORWARDING_MODES[forwarding].translatesReplies && snatPool.length === 0
