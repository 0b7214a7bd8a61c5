// States, links and live facts for tests of the planner: given in a line or two, canonical like real ones.

import { DEFAULT_WATCH } from '../../src/config/watch.ts'
import type { AddressSet, Family, Ranges } from '../../src/model/address.ts'
import { DEFAULT_HISTORY, type Desired, type InterfaceOptions, type Provenance } from '../../src/model/desired.ts'
import { type AttachedProgram, type Link, type Live, NO_RECORDS } from '../../src/model/live.ts'
import { DEFAULT_POLICY, type Policy } from '../../src/model/policy.ts'
import { NO_RADIUS } from '../../src/model/radius.ts'
import { normalize, WIDTH } from '../../src/model/ranges.ts'
import { RATE, type RateLimit } from '../../src/model/rate-limit.ts'
import type { Service } from '../../src/model/service.ts'
import {
  type AttachMode,
  type Attachment,
  EMPTY_STATE,
  EVERY_ROLE,
  type List,
  type ListKind,
  type Program,
  type Scope,
  type ScopedSet,
  type State,
  scopeKey,
} from '../../src/model/state.ts'
import { parseRange } from '../../src/model/text.ts'
import type { LastApply } from '../../src/report/last-apply.ts'
import type { Status } from '../../src/report/result.ts'

export const PROGRAM: Program = { digest: '0123456789abcdef0123456789abcdef', abi: 1 }
export const ANY: Scope = { protocol: 'any', sourcePorts: [], destinationPorts: [] }
export const DNS: Scope = { protocol: 17, sourcePorts: [{ first: 53, last: 53 }], destinationPorts: [] }

function rangesOf(family: Family, texts: readonly string[]): Ranges {
  const width = WIDTH[family]
  const parsed = texts.map((text) => {
    const range = parseRange(text)
    if (range === undefined) throw new Error(`${text} is not a range`)
    return range
  })
  const own = parsed.filter((range) => range.family === family)
  const start = new Uint32Array(own.length * width)
  const end = new Uint32Array(own.length * width)
  own.forEach((range, index) => {
    start.set(range.start, index * width)
    end.set(range.end, index * width)
  })
  return normalize(family, start, end)
}

/** Addresses, prefixes and ranges of both families as a set. */
export const addresses = (...texts: readonly string[]): AddressSet => ({
  v4: rangesOf(4, texts),
  v6: rangesOf(6, texts),
})

export const scoped = (scope: Scope, ...texts: readonly string[]): ScopedSet => ({
  scope,
  addresses: addresses(...texts),
})

export function list(kind: ListKind, name: string, ...sets: readonly ScopedSet[]): List {
  const sorted = sets.toSorted((left, right) => (scopeKey(left.scope) < scopeKey(right.scope) ? -1 : 1))
  return { kind, name, sets: sorted }
}

/** A limit of 1,000 packets per second and source, unless `own` differs. */
export const rateLimit = (name: string, own: Partial<RateLimit> = {}): RateLimit => ({
  name,
  position: 0,
  scope: ANY,
  sources: undefined,
  per: 'source',
  prefix: RATE.prefix,
  packets: { perSecond: 1000, burst: 1000 },
  bits: undefined,
  action: 'drop',
  buckets: RATE.buckets.initial,
  ...own,
})

interface Parts {
  readonly program?: Program | undefined
  readonly policy?: Policy['default'] | undefined
  readonly interfaces?: Readonly<Record<string, readonly AttachMode[]>>
  readonly lists?: readonly List[]
  readonly services?: readonly Service[]
  readonly rateLimits?: readonly RateLimit[]
  readonly roles?: Attachment['roles']
}

export function state({
  program,
  policy,
  interfaces = {},
  lists = [],
  services = [],
  rateLimits = [],
  roles = EVERY_ROLE,
}: Parts): State {
  const attachments = Object.entries(interfaces).map(([name, modes]): [string, Attachment] => [
    name,
    { interface: name, modes, roles },
  ])
  return {
    program,
    policy: policy === undefined ? undefined : { ...DEFAULT_POLICY, default: policy, unparsed: policy },
    interfaces: new Map(attachments),
    lists: new Map(lists.map((one) => [one.name, one])),
    services: new Map(services.map((one) => [one.name, one])),
    ...(rateLimits.length > 0 && { rateLimits: new Map(rateLimits.map((one) => [one.name, one])) }),
  }
}

export const link = (name: string, facts: Partial<Link> = {}): Link => ({
  name,
  ifindex: 2,
  mtu: 1500,
  mac: '02005e1000fe',
  vlan: undefined,
  below: undefined,
  up: true,
  kind: 'veth',
  linkType: 'ether',
  isMultipoint: false,
  master: undefined,
  programs: [],
  ...facts,
})

export const foreign = (facts: Partial<AttachedProgram> = {}): AttachedProgram => ({
  id: 42,
  mode: 'native',
  name: 'someone_elses',
  tag: 'a04f5eef06a7f555',
  loadedAt: 1_700_000_000,
  generation: undefined,
  ...facts,
})

/** Live facts around a state; all of its interfaces exist unless `links` differs. */
export function live(facts: Partial<Omit<Live, 'links'>> & { readonly links?: readonly Link[] } = {}): Live {
  const { links, ...rest } = facts
  const current = rest.state ?? EMPTY_STATE
  const existing = links ?? [...current.interfaces.keys()].map((name) => link(name))
  return {
    state: current,
    drift: new Map(),
    applied: NO_RECORDS,
    owners: new Map(),
    chains: new Map(),
    generation: current.program ? 1 : 0,
    lastGeneration: current.program ? 1 : 0,
    slots: { interfaces: new Map(), lists: new Map(), services: new Map(), backends: new Map(), pools: new Map() },
    netns: 4026531840n,
    ownNetns: 4026531840n,
    committedAt: 0,
    leftovers: [],
    pending: undefined,
    leaving: [],
    deadlines: new Map(),
    nextHops: new Map(),
    unresolved: new Map(),
    gateways: new Map(),
    unanswered: new Map(),
    stripping: new Map(),
    localPorts: { first: 32_768, last: 60_999 },
    reservedPorts: [],
    forwards: { v4: true, v6: true },
    sshEnds: [],
    acceptsLocal: new Set(),
    ownAddresses: [],
    bootSeconds: 0,
    ...rest,
    links: new Map(existing.map((one) => [one.name, one])),
  }
}

const NO_PROVENANCE: Provenance = { files: ['xdp.yaml'], lists: new Map(), services: new Map(), rateLimits: new Map() }

export function desired(wanted: State, options: Readonly<Record<string, Partial<InterfaceOptions>>> = {}): Desired {
  const at = { file: 'xdp.yaml', line: 4, column: 3, length: 4 }
  const perInterface = [...wanted.interfaces.keys()].map((name): [string, InterfaceOptions] => [
    name,
    { onConflict: 'fail', missing: 'error', at, ...options[name] },
  ])
  return {
    state: { ...wanted, program: undefined },
    options: new Map(perInterface),
    provenance: NO_PROVENANCE,
    feeds: [],
    health: new Map(),
    protect: [],
    watch: DEFAULT_WATCH,
    confirmMs: undefined,
    radius: NO_RADIUS,
    history: DEFAULT_HISTORY,
    config: { path: 'xdp.yaml', sha256: '0'.repeat(64) },
  }
}

/** The record of an apply of a config with a mistake. */
export const FAILED_APPLY: LastApply = {
  result: 'failed',
  exit_status: 78,
  started_at: '2026-01-02T04:00:00.123Z',
  finished_at: '2026-01-02T04:00:01.234Z',
  config: { path: '/etc/xdp/xdp.yaml', sha256: undefined },
  changes: [],
  error: {
    code: 'E021',
    severity: 'error',
    message: '"10.0.0.1/24" has bits set after the first 24',
    hint: 'write 10.0.0.1 for the single address, or 10.0.0.0/24 for the network of 256 addresses',
    at: { file: '/etc/xdp/xdp.yaml', line: 4, column: 5, length: 11, text: '  - 10.0.0.1/24' },
  },
  instance: 'default',
  bpffs: '/sys/fs/bpf',
  pid: 4321,
  pid_namespace: '4026531836',
}

/** The status of a host without a policy. */
export const NO_STATUS: Status = {
  interfaces: [],
  unknown: {},
  lists: [],
  anomalies: [],
  rate_limits: [],
  services: [],
  policy: undefined,
  program: undefined,
  generation: 0,
  committed_at: undefined,
  bans: undefined,
  memory: 0,
  drift: false,
  drifted: [],
  leftovers: [],
  pending: undefined,
  reverted: undefined,
  rollback: undefined,
  watcher: undefined,
  last_apply: undefined,
}
