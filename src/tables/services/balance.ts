// The two header lines of the balancer, and the sections they describe: joins the compiled services with the rest of
// the image.

import {
  BALANCE_FLAG,
  type Balance,
  FLOWS_A_LINE,
  LINE_SIZE,
  ROLE,
  type Roles,
  rolesCodec,
} from '../../abi/generated.ts'
import type { Slots } from '../../model/live.ts'
import type { Policy } from '../../model/policy.ts'
import { type Attachment, EVERY_ROLE, type Role } from '../../model/state.ts'
import type { Directory, Header, Sections } from '../layout/layout.ts'
import { multiplierValue } from '../lines/hash.ts'
import type { RawServices } from './decode.ts'
import type { ServiceSections } from './services.ts'

/**
 * New flow entries per CPU and tick: Katran's limit. Beyond it, a flood of new flows would evict the useful entries.
 */
const FLOW_LIMIT = 125_000

type BalanceSection =
  | 'ENDPOINT_INDEX'
  | 'ENDPOINTS'
  | 'PORTS'
  | 'SERVICES'
  | 'SERVICE_RECORDS'
  | 'BACKENDS'
  | 'POOLS'
  | 'RINGS'

const NONE = new Uint32Array(0)

/** The sections of the services without the rings; `undefined`: no services. */
export const balanceSections = (
  compiled: ServiceSections | undefined,
): Pick<Sections, Exclude<BalanceSection, 'RINGS'>> => ({
  ENDPOINT_INDEX: compiled?.endpoints.index ?? NONE,
  ENDPOINTS: compiled?.endpoints.endpoints ?? NONE,
  PORTS: compiled?.endpoints.ports ?? NONE,
  SERVICES: compiled?.services ?? NONE,
  SERVICE_RECORDS: compiled?.records ?? NONE,
  BACKENDS: compiled?.backends ?? NONE,
  POOLS: compiled?.pools ?? NONE,
})

const linesOf = (words: Uint32Array): number => words.byteLength / LINE_SIZE

const NO_BALANCE: Balance = {
  multiplier: 0n,
  flags: 0,
  index: 0,
  cells: 0,
  endpoints: 0,
  ports: 0,
  services: 0,
  service_lines: 0,
  backends: 0,
  backend_lines: 0,
  flow_mask: 0,
  flow_limit: 0,
  pools: 0,
  pool_lines: 0,
  rings: 0,
}

/** The header line of services; `undefined`: no services. */
export function balanceLine(compiled: ServiceSections | undefined, at: Directory, { flows }: Policy): Balance {
  if (!compiled) return NO_BALANCE
  return {
    multiplier: multiplierValue(compiled.endpoints.multiplier),
    flags:
      BALANCE_FLAG.ENDPOINTS |
      (compiled.hasReplies ? BALANCE_FLAG.REPLIES : 0) |
      (compiled.hasPools ? BALANCE_FLAG.POOLS : 0),
    index: at.ENDPOINT_INDEX.first,
    cells: compiled.endpoints.cells,
    endpoints: at.ENDPOINTS.first,
    ports: at.PORTS.first,
    services: at.SERVICES.first,
    service_lines: linesOf(compiled.services),
    backends: at.BACKENDS.first,
    backend_lines: linesOf(compiled.backends),
    flow_mask: flows / FLOWS_A_LINE - 1,
    flow_limit: FLOW_LIMIT,
    pools: at.POOLS.first,
    pool_lines: compiled.poolLines,
    rings: at.RINGS.first,
  }
}

/** The sections that the line describes, each read by `section` of an image. */
export const rawServices = (
  section: (name: BalanceSection, first?: number) => Uint32Array,
  balance: Balance,
): RawServices => ({
  index: section('ENDPOINT_INDEX', balance.index),
  endpoints: section('ENDPOINTS', balance.endpoints),
  ports: section('PORTS', balance.ports),
  services: section('SERVICES', balance.services),
  records: section('SERVICE_RECORDS'),
  backends: section('BACKENDS', balance.backends),
  pools: section('POOLS', balance.pools),
  rings: section('RINGS', balance.rings),
})

const ROLE_BITS: Readonly<Record<Role, number>> = { filter: ROLE.FILTER, balance: ROLE.BALANCE }

/** The header line of roles. */
export function rolesLine(interfaces: ReadonlyMap<string, Attachment>, slots: Slots['interfaces']): Roles {
  const lacks = new Uint8Array(rolesCodec.size)
  for (const { interface: name, roles } of interfaces.values()) {
    const slot = slots.get(name)
    if (slot === undefined) throw new RangeError(`interface ${name} has no slot`)
    for (const role of EVERY_ROLE) if (!roles.includes(role)) lacks[slot] = (lacks[slot] as number) | ROLE_BITS[role]
  }
  return { lacks }
}

/** Whether any interface lacks a role. */
export const saysRoles = ({ lacks }: Roles): boolean => lacks.some((bits) => bits !== 0)

/** Roles by interface slot. */
export function decodeRoles({ lacks }: Roles): readonly (readonly Role[])[] {
  return Array.from(lacks, (bits) => EVERY_ROLE.filter((role) => (bits & ROLE_BITS[role]) === 0))
}

/** Entries that the balancer's maps of a generation need. */
export interface BalanceSizes {
  /** Lines of `flows`. */
  readonly flowLines: number
  /** Entries of `service_stats` and `backend_stats`. */
  readonly services: number
  readonly backends: number
  /** Addresses of source pools that `snat_ports` has room for; 0 = none. */
  readonly pools: number
}

/** Map size for a number of slots: few distinct sizes, so that maps are seldom recreated. */
const roomFor = (slots: number): number => (slots === 0 ? 1 : Math.max(64, 2 ** Math.ceil(Math.log2(slots))))

/** Sizes of the maps beside an image; one entry each without services. */
export function balanceSizes({ balance }: Pick<Header, 'balance'>): BalanceSizes {
  return {
    flowLines: balance.flow_mask + 1,
    services: roomFor(balance.service_lines),
    backends: roomFor(balance.backend_lines),
    pools: balance.pool_lines === 0 ? 0 : 2 ** Math.ceil(Math.log2(balance.pool_lines)),
  }
}
