// Addresses in the form of list files: text, one per line.

import { makeRandom } from './sets.ts'

/** First octets with private, reserved and documentation networks, which no list of attackers contains. */
const LEFT_OUT = new Set([0, 10, 100, 127, 169, 172, 192, 198, 203])

/** `count` different random addresses of public networks, as numbers; equal in every run. */
export function publicAddresses(count: number, seed = 1): Uint32Array {
  const random = makeRandom(seed)
  const seen = new Uint8Array(2 ** 29)
  const addresses = new Uint32Array(count)
  for (let found = 0; found < count; ) {
    const address = random() >>> 0
    const first = address >>> 24
    const bit = 1 << (address & 7)
    if (first >= 224 || LEFT_OUT.has(first) || (seen[address >>> 3] as number) & bit) continue
    seen[address >>> 3] = (seen[address >>> 3] as number) | bit
    addresses[found++] = address
  }
  return addresses
}

export const dotted = (address: number, separator = '.'): string =>
  [address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255].join(separator)

/** One line per address. Strings are joined in parts, since one of 10 million lines may be too long to grow. */
export function lines(addresses: Uint32Array, line: (address: number) => string): string {
  const parts: string[] = []
  for (let i = 0; i < addresses.length; i += 4096) {
    parts.push(`${Array.from(addresses.subarray(i, i + 4096), (address) => line(address)).join('\n')}\n`)
  }
  return parts.join('')
}
