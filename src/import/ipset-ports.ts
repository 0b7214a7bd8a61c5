// Entries of `hash:ip,port` and `hash:net,port`: an address, a protocol and a port. Format: ipset(8), "hash:ip,port".

import type { AddressSet } from '../model/address.ts'
import type { PortRange } from '../model/ports.ts'
import { TCP, UDP } from '../model/ports.ts'
import { equals } from '../model/ranges.ts'
import { canonicalPorts } from '../model/scope.ts'
import { RangeCollector } from './addresses.ts'
import { parsePorts, protocolNumber } from './scopes.ts'

/** Types whose entries are an address with a port. */
export const WITH_PORT = new Set(['hash:ip,port', 'hash:net,port'])

/** Addresses with a protocol. */
export interface PortGroup {
  readonly protocol: number
  /** Empty for a protocol without ports. */
  readonly ports: readonly PortRange[]
  readonly addresses: AddressSet
}

const same = (a: AddressSet, b: AddressSet): boolean => equals(a.v4, b.v4) && equals(a.v6, b.v6)

export class PortEntries {
  readonly #found = new Map<string, Omit<PortGroup, 'addresses'> & { readonly found: RangeCollector }>()
  /** Entries that a scope cannot express. */
  losses = 0

  /**
   * Adds `192.0.2.0/24,tcp:80`. Counts a loss if a scope cannot express the entry, such as an ICMP type. Returns false if
   * ipset prints no such entry.
   */
  read(text: string, exception: boolean): boolean {
    const [, address = '', name = 'tcp', port = ''] = /^([^,]+),(?:([\w.-]+):)?([^,]+)$/.exec(text) ?? []
    if (port === '') return false
    const protocol = protocolNumber(name)
    const range = parsePorts(port, '-')
    const ported = protocol === TCP || protocol === UDP
    // The port of an ICMP entry is a type and a code.
    const plain = port === '0' && protocol !== 1 && protocol !== 58
    const expressible = !exception && protocol !== undefined && range !== undefined && (ported || plain)
    const key = expressible ? `${protocol} ${port}` : ''
    const group = this.#found.get(key) ?? {
      protocol: protocol ?? 0,
      ports: ported && range !== undefined ? [range] : [],
      found: new RangeCollector(),
    }
    const bytes = Buffer.from(address)
    if (!group.found.read(bytes, 0, bytes.length)) return false
    if (expressible) this.#found.set(key, group)
    else this.losses++
    return true
  }

  /** The entries, with the ports of equal addresses together. */
  finish(): readonly PortGroup[] {
    const groups: PortGroup[] = []
    for (const { protocol, ports, found } of this.#found.values()) {
      const addresses = found.finish()
      const at = groups.findIndex((one) => one.protocol === protocol && same(one.addresses, addresses))
      const known = groups[at]
      if (known === undefined) groups.push({ protocol, ports, addresses })
      else groups[at] = { ...known, ports: canonicalPorts([...known.ports, ...ports]) }
    }
    return groups
  }
}
