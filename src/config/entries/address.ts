// One address of a service as written, a VIP or a backend → Address. Reports text that is not an address, and addresses
// that no packet can be sent to.

import type { Address } from '../../model/address.ts'
import { parseAddress, parseRange } from '../../model/text.ts'
import { isMapped, uselessness } from '../../model/unicast.ts'
import { type Reading, reportAt } from '../text/place.ts'
import { quote } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import { explainRange } from './range.ts'

/** Reads a unicast address; undefined after an error. `subject` names it in messages: `vip`, `the address of a backend`. */
export function readUnicast(text: string, placed: Placed, subject: string, reading: Reading): Address | undefined {
  const address = parseAddress(text)
  if (address === undefined || isMapped(address)) {
    if (address === undefined && parseRange(text) !== undefined) {
      reportAt(reading, placed, 'E020', `${subject} must be one address, not ${quote(text)}`, 'write a single address')
      return undefined
    }
    const { code, message, hint } = explainRange(text)
    reportAt(reading, placed, code, code === 'E020' ? `${quote(text)} is not an IPv4 or IPv6 address` : message, hint)
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
