// Whether a bond accepts a program in native mode: the kernel gives the program to every member, and one that refuses makes
// the bond refuse (drivers/net/bonding/bond_main.c: bond_xdp_check, bond_xdp_set). Pure.

import type { BondSettings } from '../model/live.ts'
import { atLeast, type Version } from '../model/version.ts'
import { BOND_MODES, BOND_NATIVE, WITHOUT_NATIVE_KINDS } from './driver.ts'
import { withoutNative } from './native.ts'
import { driverNamed } from './table.ts'

export interface Refusal {
  /** A clause that continues "NAME: ". */
  readonly why: string
  /** A setting of the bond that would change it. */
  readonly fix?: string
}

/** The policy that hashes a VLAN tag, which cards take out of frames (commit 39a0876d595b). */
const UNHASHABLE = 'vlan+srcmac'

/** Why a bond has no native XDP whatever its members are. `settings`: undefined if unknown. */
export function bondRefusal(settings: BondSettings | undefined, kernel: Version | undefined): Refusal | undefined {
  if (kernel && !atLeast(kernel, BOND_NATIVE)) {
    return { why: `bonds have native XDP since Linux ${BOND_NATIVE.join('.')}` }
  }
  if (settings === undefined) return undefined
  const { mode, policy } = settings
  if (!BOND_MODES.has(mode)) {
    const fix = `set its mode to one of ${[...BOND_MODES].join(', ')}`
    return { why: `a bond in mode ${mode} has no native XDP`, fix }
  }
  const hashes = mode === '802.3ad' || mode === 'balance-xor'
  if (!hashes || policy !== UNHASHABLE) return undefined
  return {
    why: `a bond in mode ${mode} with xmit_hash_policy ${UNHASHABLE} has no native XDP`,
    fix: 'set its xmit_hash_policy to another one, such as layer3+4',
  }
}

/** The driver of a device, by its kind where `ethtool -i` need not be asked. */
export const driverOf = (kind: string, asked: string | undefined): string | undefined =>
  kind === 'veth' || kind === 'tun' ? kind : asked

/** Why a bond that has a driver as a member has no native XDP, though the driver itself has; a clause. */
export const refusedInBond = (driver: string | undefined): string | undefined =>
  driverNamed(driver)?.bond ? `driver ${driver} cannot transmit frames of others (ndo_xdp_xmit)` : undefined

/** Why a device has no native XDP by its kind and driver; a clause. undefined: it has, or it is unknown. */
export function refusalOf(kind: string, asked: string | undefined, kernel: Version | undefined): string | undefined {
  if (WITHOUT_NATIVE_KINDS.has(kind)) return `a device of the kind ${kind} has no native XDP`
  const driver = driverOf(kind, asked)
  return driver === undefined ? undefined : withoutNative(driver, kernel)
}

/** A member of a bond. `hasProgram`: one of its own. */
export interface Member {
  readonly kind: string
  readonly driver: string | undefined
  readonly hasProgram: boolean
}

/** Why a bond with this member has no native XDP; a clause about the member. */
export const memberRefusal = ({ kind, driver, hasProgram }: Member, kernel: Version | undefined): string | undefined =>
  hasProgram
    ? 'it runs a program of its own'
    : (refusalOf(kind, driver, kernel) ?? refusedInBond(driverOf(kind, driver)))
