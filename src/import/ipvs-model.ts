// Virtual servers of the kernel's IPVS, whichever tool describes them, and the differences between them and services.

import type { Diagnostic } from '../diagnostics.ts'
import type { Address } from '../model/address.ts'
import type { Ignorable, Place } from './source.ts'

/** How packets reach a real server: ipvsadm(8), "packet-forwarding-method". */
export interface Method {
  readonly kind: 'nat' | 'dsr' | 'ipip' | 'gue' | 'gre'
  /** UDP port of GUE. */
  readonly guePort: number | undefined
}

export interface RealServer {
  readonly place: Place
  readonly address: Address
  /** 0: the packet keeps its port. */
  readonly port: number
  readonly weight: number
  readonly method: Method
  /** `health` of the backend; undefined: the source does not check it. */
  readonly health: WrittenCheck | undefined
}

/** A check as a config has it. */
export type WrittenCheck = Readonly<Record<string, unknown>>

export interface VirtualServer {
  readonly place: Place
  readonly vip: Address
  /** 0: any port. */
  readonly port: number
  readonly protocol: 'tcp' | 'udp'
  readonly scheduler: string
  /** As of `ipvsadm -b`, such as `sh-port`. */
  readonly flags: readonly string[]
  /** Seconds for which a client stays on its server; undefined: only for the connection. */
  readonly persistence: number | undefined
  /** Every datagram is scheduled alone. */
  readonly isOnePacket: boolean
  /** Idle timeout of UDP flows in seconds. */
  readonly udpTimeout: number
  readonly servers: readonly RealServer[]
  /** Takes over while the living servers weigh less than `quorum`. */
  readonly sorry: RealServer | undefined
  readonly quorum: number
}

/** IPVS's own value: net/netfilter/ipvs/ip_vs_proto_udp.c. */
export const UDP_TIMEOUT = 300

/** The differences between a source and its import, each with its place. */
export class Differences {
  readonly #found: { readonly diagnostic: Diagnostic; readonly ignorable: Ignorable | undefined }[] = []

  readonly #known = new Set<string>()

  /** A setting that moves no packet. */
  left(place: Place, message: string): void {
    this.#add('W400', place, message, undefined)
  }

  /** Packets go to the servers of the source, in other shares or at other times. */
  approximated(place: Place, message: string): void {
    this.#add('W242', place, message, undefined)
  }

  /** Packets would go elsewhere than in the source. */
  elsewhere(ignorable: Ignorable, place: Place, message: string): void {
    this.#add('W241', place, message, ignorable)
  }

  #add(
    code: 'W400' | 'W241' | 'W242',
    { text, file, line }: Place,
    message: string,
    ignorable: Ignorable | undefined,
  ): void {
    const at = file === undefined || line === undefined ? undefined : { file, line, column: 1, length: 1 }
    const diagnostic: Diagnostic = at
      ? { code, severity: 'warning', message, at }
      : { code, severity: 'warning', message: `${text}: ${message}` }
    // Servers of a group are read once for each of its addresses.
    const key = `${text} ${message}`
    if (this.#known.has(key)) return
    this.#known.add(key)
    this.#found.push({ diagnostic, ignorable })
  }

  /** In the order of files and lines. */
  all(): readonly Diagnostic[] {
    const order = new Map<string, number>()
    for (const { diagnostic } of this.#found) {
      const file = diagnostic.at?.file ?? ''
      if (!order.has(file)) order.set(file, order.size)
    }
    const key = ({ at }: Diagnostic): number => order.get(at?.file ?? '') ?? 0
    return this.#found
      .map(({ diagnostic }) => diagnostic)
      .sort((left, right) => key(left) - key(right) || (left.at?.line ?? 0) - (right.at?.line ?? 0))
  }

  /** The error for packets that would go elsewhere; undefined if there are none but those to ignore. */
  refusal(ignored: readonly Ignorable[]): Diagnostic | undefined {
    const open = this.#found.flatMap(({ ignorable }) =>
      ignorable === undefined || ignored.includes(ignorable) ? [] : [ignorable],
    )
    if (open.length === 0) return undefined
    const flags = [...new Set(open)].map((one) => `--ignore ${one}`).join(' ')
    const message = `in ${open.length === 1 ? 'one place' : `${open.length} places`}, listed as W241, the config would send packets elsewhere than the source does`
    return { code: 'E410', severity: 'error', message, hint: `to accept that: ${flags}` }
  }
}
