// Warnings about drivers that will refuse native mode, from the table of drivers.

import type { Diagnostic, Location } from '../diagnostics.ts'
import { mtuLimit, withoutNative } from '../drivers/native.ts'
import type { Link, Live } from '../model/live.ts'
import type { Attachment } from '../model/state.ts'
import { parseVersion } from '../model/version.ts'

/** The largest MTU of ordinary Ethernet, which every driver with native XDP accepts. */
const ETHERNET_MTU = 1500

/** A warning that apply fails, or falls back to generic mode, because the driver of a card lacks native XDP here. */
export function warnDriver(
  { name, mtu }: Link,
  modes: Attachment['modes'],
  { drivers }: Pick<Live, 'drivers'>,
  at: Location | undefined,
): Diagnostic[] {
  const driver = drivers?.names.get(name)
  if (driver === undefined) return []
  const kernel = parseVersion(drivers?.kernel ?? '')
  const effect = modes.includes('generic') ? 'apply will use generic mode' : 'apply will probably fail'
  const where = at === undefined ? {} : { at }
  const why = withoutNative(driver, kernel)
  if (why !== undefined) {
    const hint = `write \`mode: generic\` under ${name}`
    return [{ code: 'W208', severity: 'warning', message: `${name}: ${why}: ${effect}`, hint, ...where }]
  }
  const limit = mtuLimit(driver, kernel)
  if (limit === undefined || mtu <= limit) return []
  const message = `${name} has an MTU of ${mtu}: on this kernel, driver ${driver} supports native XDP up to about ${limit}: ${effect}`
  const hint = `ip link set ${name} mtu ${Math.min(limit, ETHERNET_MTU)}, or write \`mode: generic\` under ${name}`
  return [{ code: 'W277', severity: 'warning', message, hint, ...where }]
}
