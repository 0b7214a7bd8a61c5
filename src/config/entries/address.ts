// One address of a service as written, a VIP or a backend → Address. Reports text that is not an address, and addresses
// that no packet can be sent to.

import type { Address } from '../../model/address.ts'
import { parseAddress, parseRange } from '../../model/text.ts'
import { isMapped, uselessness } from '../../model/unicast.ts'
import { type Reading, reportAt } from '../text/place.ts'
import { quote } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import { explainRange } from './range.ts'

/** An address as YAML takes it inside of braces. */
const yamlText = (address: string): string => (address.includes(':') ? `"${address}"` : address)

/** `10.0.0.11:8080` or `[2001:db8::1]:8080`. */
const WITH_PORT = /^(?:\[([0-9a-fA-F:.]+)\]|([\d.]+)):(\d{1,5})$/

/** An address with a port where an address alone belongs; undefined for other texts. */
function splitPort(text: string): { readonly address: string; readonly port: number } | undefined {
  const [, v6, v4, digits] = WITH_PORT.exec(text) ?? []
  const address = v6 ?? v4 ?? ''
  const port = Number(digits)
  return parseAddress(address) && port >= 1 && port <= 65_535 ? { address, port } : undefined
}

/** Advice that fits an entry of a list and not an address. */
const OF_LISTS = /source_port|of the config|write addresses|CIDR|range|per entry|empty list|`interfaces`/

/**
 * Reads a unicast address; undefined after an error.
 *
 * @param subject names it in messages: `vip`, `the address of a backend`
 * @param portHint advice about an address with a port; gets the address as YAML takes it inside of braces
 */
export function readUnicast(
  text: string,
  placed: Placed,
  subject: string,
  reading: Reading,
  portHint: (address: string, port: number) => string,
): Address | undefined {
  const address = parseAddress(text)
  const parts = splitPort(text)
  if (parts !== undefined) {
    const message = `${subject} must be an address without a port, not ${quote(text)}`
    reportAt(reading, placed, 'E020', message, portHint(yamlText(parts.address), parts.port))
    return undefined
  }
  if (address === undefined || isMapped(address)) {
    if (address === undefined && parseRange(text) !== undefined) {
      reportAt(reading, placed, 'E020', `${subject} must be one address, not ${quote(text)}`, 'write a single address')
      return undefined
    }
    const { code, message, hint } = explainRange(text)
    const isOfLists = OF_LISTS.test(hint ?? '')
    const own = isOfLists
      ? 'write one address, such as 192.0.2.10 or 2001:db8::10, without a name, port or length'
      : hint
    reportAt(reading, placed, code, code === 'E020' ? `${quote(text)} is not an IPv4 or IPv6 address` : message, own)
    return undefined
  }
  const why = uselessness(address)
  if (why === undefined) return address
  reportAt(
    reading,
    placed,
    'E040',
    `${subject} cannot be ${text}: it ${why}`,
    'write a unicast address that hosts can reach',
  )
  return undefined
}
