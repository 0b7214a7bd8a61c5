// Which addresses can be a VIP or a backend.

import { type Address, isLinkLocal } from './address.ts'

/** Why no other host can send packets to an address; undefined if one can. */
export function uselessness(address: Address): string | undefined {
  const { family, words } = address
  const first = words[0] as number
  if (family === 4) {
    if (first >>> 24 === 0) return 'is in 0.0.0.0/8, which means "this host"'
    if (first >>> 24 === 127) return 'is a loopback address'
    if (first >>> 28 === 14) return 'is a multicast address'
    return first === 0xffffffff ? 'is the broadcast address' : undefined
  }
  const rest = (words[1] as number) | (words[2] as number)
  if (first === 0 && rest === 0 && (words[3] as number) <= 1)
    return words[3] === 0 ? 'is the unspecified address' : 'is the loopback address'
  if (isLinkLocal(address)) return 'is a link-local address, which is valid on one link only'
  return first >>> 24 === 0xff ? 'is a multicast address' : undefined
}

/** IPv4 in IPv6 form, ::ffff:0:0/96. */
export const isMapped = ({ family, words }: Address): boolean =>
  family === 6 && words[0] === 0 && words[1] === 0 && words[2] === 0xffff
