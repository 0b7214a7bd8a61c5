// Line 6 of an image and the sections that it leads to: how the compiled services become part of the whole.

import {
  BALANCE_FLAG,
  type Balance,
  balanceCodec,
  FLOWS_A_LINE,
  LINE_SIZE,
  ROLE,
  rolesCodec,
} from '../abi/generated.ts'
import type { BalanceSizes } from '../abi/paths.ts'
import type { Slots } from '../model/live.ts'
import { type Attachment, EVERY_ROLE, type Policy, type Role } from '../model/state.ts'
import type { RawServices } from './decode-services.ts'
import { multiplierValue } from './hash.ts'
import { BALANCE_LINE, type Layout, ROLES_LINE, type Sections } from './layout.ts'
import type { ServiceSections } from './services.ts'

/**
 * New flows that a CPU may remember in a tick: what Katran allows. Above it a flood of new flows would push out the
 * ones that are worth remembering.
 */
const FLOW_LIMIT = 125_000

type BalanceSection =
  | 'ENDPOINT_HASH'
  | 'ENDPOINTS'
  | 'PORTS'
  | 'SERVICES'
  | 'SERVICE_RECORDS'
  | 'BACKENDS'
  | 'POOLS'
  | 'RINGS'

const NONE = new Uint32Array(0)

/** The sections of the services; `undefined`: there are none. */
export const balanceSections = (compiled: ServiceSections | undefined): Pick<Sections, BalanceSection> => ({
  ENDPOINT_HASH: compiled?.endpoints.hash ?? NONE,
  ENDPOINTS: compiled?.endpoints.endpoints ?? NONE,
  PORTS: compiled?.endpoints.ports ?? NONE,
  SERVICES: compiled?.services ?? NONE,
  SERVICE_RECORDS: compiled?.records ?? NONE,
  BACKENDS: compiled?.backends ?? NONE,
  POOLS: compiled?.pools ?? NONE,
  RINGS: compiled?.rings ?? NONE,
})

const linesOf = (words: Uint32Array): number => words.byteLength / LINE_SIZE

/** Writes line 6. */
export function encodeBalance(compiled: ServiceSections, { words, at }: Layout, { flows }: Policy): void {
  const line: Balance = {
    multiplier: multiplierValue(compiled.endpoints.multiplier),
    flags:
      BALANCE_FLAG.ENDPOINTS |
      (compiled.hasReplies ? BALANCE_FLAG.REPLIES : 0) |
      (compiled.hasPools ? BALANCE_FLAG.POOLS : 0),
    hash: at('ENDPOINT_HASH'),
    hash_lines: compiled.endpoints.buckets,
    endpoints: at('ENDPOINTS'),
    ports: at('PORTS'),
    services: at('SERVICES'),
    service_lines: linesOf(compiled.services),
    backends: at('BACKENDS'),
    backend_lines: linesOf(compiled.backends),
    flow_mask: flows / FLOWS_A_LINE - 1,
    flow_limit: FLOW_LIMIT,
    pools: at('POOLS'),
    pool_lines: compiled.poolLines,
    rings: at('RINGS'),
  }
  balanceCodec.encode(line, new DataView(words.buffer), BALANCE_LINE * LINE_SIZE)
}

/** The sections that line 6 leads to, by `section` of an image. */
export const rawServices = (
  section: (name: BalanceSection, first?: number) => Uint32Array,
  balance: Balance,
): RawServices => ({
  hash: section('ENDPOINT_HASH', balance.hash),
  endpoints: section('ENDPOINTS', balance.endpoints),
  ports: section('PORTS', balance.ports),
  services: section('SERVICES', balance.services),
  records: section('SERVICE_RECORDS'),
  backends: section('BACKENDS', balance.backends),
  pools: section('POOLS', balance.pools),
  rings: section('RINGS', balance.rings),
})

const ROLE_BITS: Readonly<Record<Role, number>> = { filter: ROLE.FILTER, balance: ROLE.BALANCE }

/** Writes line 7; false where every interface has every role, and there is nothing to write. */
export function encodeRoles(
  interfaces: ReadonlyMap<string, Attachment>,
  slots: Slots['interfaces'],
  { words }: Layout,
): boolean {
  const lacks = new Uint8Array(rolesCodec.size)
  for (const { interface: name, roles } of interfaces.values()) {
    const slot = slots.get(name)
    if (slot === undefined) throw new RangeError(`interface ${name} has no slot`)
    for (const role of EVERY_ROLE) if (!roles.includes(role)) lacks[slot] = (lacks[slot] as number) | ROLE_BITS[role]
  }
  rolesCodec.encode({ lacks }, new DataView(words.buffer), ROLES_LINE * LINE_SIZE)
  return lacks.some((bits) => bits !== 0)
}

/** Roles by interface slot. */
export function decodeRoles(view: DataView): readonly (readonly Role[])[] {
  const { lacks } = rolesCodec.decode(view, ROLES_LINE * LINE_SIZE)
  return Array.from(lacks, (bits) => EVERY_ROLE.filter((role) => (bits & ROLE_BITS[role]) === 0))
}

/** Room for a number of slots: few sizes, so that maps are seldom made anew. */
const roomFor = (slots: number): number => (slots === 0 ? 1 : Math.max(64, 2 ** Math.ceil(Math.log2(slots))))

/** What an image needs of the maps beside it; without services one entry of each. */
export function balanceSizes(image: Uint8Array): BalanceSizes {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  const balance = balanceCodec.decode(view, BALANCE_LINE * LINE_SIZE)
  return {
    flowLines: balance.flow_mask + 1,
    services: roomFor(balance.service_lines),
    backends: roomFor(balance.backend_lines),
    pools: balance.pool_lines === 0 ? 0 : 2 ** Math.ceil(Math.log2(balance.pool_lines)),
  }
}
