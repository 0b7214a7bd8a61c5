// Addresses that a public server must not send us to: a redirect from the Internet into the network of this host could make
// it ask services that trust it.

import { BlockList, isIP } from 'node:net'

const PRIVATE4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['224.0.0.0', 3],
] as const
const PRIVATE6 = [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const

const list = new BlockList()
for (const [address, length] of PRIVATE4) list.addSubnet(address, length, 'ipv4')
for (const [address, length] of PRIVATE6) list.addSubnet(address, length, 'ipv6')

/** Whether an address belongs to this host or to networks around it. IPv4 in IPv6 form counts as the IPv4 address. */
export function isPrivate(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6')
}
