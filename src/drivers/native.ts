// Whether a driver accepts our programs in native mode, on a kernel and with an MTU. Pure.

import { atLeast, type Version } from '../model/version.ts'
import { type Driver, KNOWN_UNTIL } from './driver.ts'
import { driverNamed } from './table.ts'

/** A clause that continues "NAME: ", why a driver has no native XDP on a kernel; undefined: it has, or it is unknown. */
export function withoutNative(name: string, kernel: Version | undefined): string | undefined {
  const driver = driverNamed(name)
  if (driver === undefined) return undefined
  if (!driver.native) return `driver ${name} has no native XDP (as of Linux ${KNOWN_UNTIL})`
  if (kernel === undefined || atLeast(kernel, driver.native.kernel)) return undefined
  return `driver ${name} has native XDP since Linux ${driver.native.kernel.join('.')}`
}

/** Whether a driver accepts packets in several buffers; on an unknown kernel, whether it ever did. */
const hasFrags = ({ frags }: Driver, kernel: Version | undefined): boolean =>
  frags !== undefined && (kernel === undefined || atLeast(kernel, frags.kernel))

/**
 * Approximate largest MTU in bytes at which a driver accepts our programs; undefined: no limit, or none known. Our
 * programs support packets in several buffers (xdp.frags), so the limit ends once the driver does too.
 */
export function mtuLimit(name: string | undefined, kernel: Version | undefined): number | undefined {
  const driver = driverNamed(name)
  return driver && !hasFrags(driver, kernel) ? driver.mtu?.is : undefined
}
