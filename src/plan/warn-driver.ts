// Warnings about drivers that will refuse native mode, from the table of drivers.

import type { Diagnostic, Location } from '../diagnostics.ts'
import { mtuLimit, withoutNative } from '../drivers/native.ts'
import { driverNamed } from '../drivers/table.ts'
import type { Link, Live } from '../model/live.ts'
import type { Attachment } from '../model/state.ts'
import { parseVersion, type Version } from '../model/version.ts'

/** How to leave VLAN tags in the frames of devices: commands, and words for those whose drivers cannot. */
export function hintOfTags(devices: readonly string[], { drivers }: Pick<Live, 'drivers'>): string {
  const driverOf = (device: string): string | undefined => drivers?.names.get(device)
  const fixed = devices.filter((device) => driverNamed(driverOf(device))?.tags?.is === 'always')
  if (fixed.length === 0) return devices.map((device) => `ethtool -K ${device} rxvlan off`).join(' && ')
  const names = [...new Set(fixed.map(driverOf))].join(', ')
  return `driver ${names} cannot turn it off on ${fixed.join(', ')}: give the VLAN a card whose frames have no tag`
}

/** The largest MTU of ordinary Ethernet, which every driver with native XDP accepts. */
const ETHERNET_MTU = 1500

/** The reaction of apply to an interface without native XDP. */
export const effectOf = (modes: Attachment['modes']): string =>
  modes.includes('generic') ? 'apply will use generic mode' : 'apply will probably fail'

/** The warning about an MTU that is too large for a driver. `of`: the member that has it, if the interface is a bond. */
export function tooLarge(
  { name, mtu, of }: { readonly name: string; readonly mtu: number; readonly of?: string },
  driver: string | undefined,
  kernel: Version | undefined,
  modes: Attachment['modes'],
): Diagnostic | undefined {
  const limit = mtuLimit(driver, kernel)
  if (limit === undefined || mtu <= limit) return undefined
  const who = of === undefined ? name : `${name}: ${of}`
  return {
    code: 'W277',
    severity: 'warning',
    message: `${who} has an MTU of ${mtu}: on this kernel, driver ${driver} supports native XDP up to about ${limit}: ${effectOf(modes)}`,
    hint: `ip link set ${name} mtu ${Math.min(limit, ETHERNET_MTU)}, or write \`mode: generic\` under ${name}`,
  }
}

/** A warning that apply fails, or falls back to generic mode, because the driver of a card lacks native XDP here. */
export function warnDriver(
  link: Link,
  modes: Attachment['modes'],
  { drivers }: Pick<Live, 'drivers'>,
  at: Location | undefined,
): Diagnostic[] {
  const { name } = link
  const driver = link.kind === 'physical' ? drivers?.names.get(name) : undefined
  if (driver === undefined) return []
  const kernel = parseVersion(drivers?.kernel ?? '')
  const where = at === undefined ? {} : { at }
  const why = withoutNative(driver, kernel)
  if (why !== undefined) {
    const hint = `write \`mode: generic\` under ${name}`
    return [{ code: 'W208', severity: 'warning', message: `${name}: ${why}: ${effectOf(modes)}`, hint, ...where }]
  }
  const large = tooLarge(link, driver, kernel, modes)
  return large ? [{ ...large, ...where }] : []
}
