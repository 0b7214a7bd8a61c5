// The neighbour table of the kernel.

import { list, mark, optional, record, type ShapeOf, text } from '../../abi/answer.ts'
import { askIp } from '../tools/ip.ts'
import { plainMac } from './links.ts'

/** An entry of `ip neigh show`; a flag is there, as null, if it is set. */
const neighbour = record({
  dst: text,
  dev: text,
  lladdr: optional(text),
  state: optional(list(text)),
  router: mark,
  managed: mark,
  extern_learn: mark,
})

/** The neighbour table of the kernel, by `device address`. */
export interface Neighbours {
  readonly macs: ReadonlyMap<string, string>
  /** Entries that the kernel will verify again before it trusts them. */
  readonly stale: readonly string[]
  /** Entries whose neighbour did not answer the kernel. */
  readonly failed: ReadonlySet<string>
  /**
   * Entries that the kernel resolved itself and trusts: those that an administrator or a routing daemon made (PERMANENT,
   * NOARP, managed, extern_learn) are never among them.
   */
  readonly own: ReadonlyMap<string, OwnNeighbour>
}

export interface OwnNeighbour {
  /** Whether the kernel is asking it for its address. */
  readonly isAsked: boolean
  /** Whether it announced itself as an IPv6 router; a change of the entry must repeat that, or it is lost. */
  readonly isRouter: boolean
}

/** States of entries with an address that the kernel found by itself (linux/neighbour.h). */
const RESOLVED = ['REACHABLE', 'STALE', 'DELAY', 'PROBE']

export function neighboursOf(entries: readonly ShapeOf<typeof neighbour>[]): Neighbours {
  const macs = new Map<string, string>()
  const stale: string[] = []
  const failed = new Set<string>()
  const own = new Map<string, OwnNeighbour>()
  for (const { dst, dev, lladdr, state = [], router, managed, extern_learn } of entries) {
    const key = `${dev} ${dst}`
    if (state.includes('FAILED')) failed.add(key)
    const mac = plainMac(lladdr)
    if (mac === '' || state.includes('FAILED') || state.includes('INCOMPLETE')) continue
    macs.set(key, mac)
    if (state.includes('STALE')) stale.push(key)
    if (managed || extern_learn || !state.some((one) => RESOLVED.includes(one))) continue
    own.set(key, { isAsked: state.includes('PROBE'), isRouter: router === true })
  }
  return { macs, stale, failed, own }
}

export const readNeighbours = async (): Promise<Neighbours> =>
  neighboursOf(await askIp(list(neighbour), 'neigh', 'show'))
