// Bans that the allowlist beats. Asked after the bans are written, because a ban must not wait for the answer.

import { ANYWHERE } from '../abi/packet.ts'
import { type Paths, pinPaths } from '../abi/paths.ts'
import { FILTER } from '../features/filter.ts'
import { explainMany } from '../kernel/live/answers.ts'
import { banGenerations } from '../kernel/live/ban-write.ts'
import { compareBounds, lastAtOrBelow, WIDTH } from '../model/ranges.ts'
import { type ScopedSet, type State, scopeKey } from '../model/state.ts'
import { formatRange, type Prefix } from '../model/text.ts'
import type { Host } from './session.ts'

/** Addresses of a ban that an allowlist covers. */
export interface Spared {
  readonly list: string
  /** The packets that pass: `any`, or the scope of the entry. */
  readonly packets: string
  /** The first addresses, as text; at most the whole prefix. */
  readonly addresses: string
  /** Whether every packet of the ban passes. */
  readonly isWhole: boolean
}

/** A packet of a protocol for experiments (RFC 3692). */
const UNUSUAL = { protocol: 253, ttl: 63 } as const

const isSingle = ({ family, length }: Prefix): boolean => length === (family === 4 ? 32 : 128)

/**
 * Whether a list covers a single address, at the price of one test packet for each. While an apply runs or waits for its
 * confirmation there are two generations, and either may be the live one.
 */
async function inLists(paths: Paths, prefixes: readonly Prefix[]): Promise<boolean[]> {
  const packets = prefixes.map(({ family, start }) => ({
    packet: { source: { family, words: start }, ...UNUSUAL },
    arrival: ANYWHERE,
  }))
  const explained = await Promise.all(
    (await banGenerations(paths)).map((one) => explainMany(paths.program(one, FILTER.programs.explain), packets)),
  )
  return prefixes.map((_, i) => explained.some((answers) => answers[i]?.class !== 0))
}

/** The first addresses that a set and a prefix share; undefined: none. */
function sharedWith({ addresses }: ScopedSet, { family, start, end }: Prefix): Omit<Prefix, 'length'> | undefined {
  const ranges = family === 4 ? addresses.v4 : addresses.v6
  const width = WIDTH[family]
  const before = lastAtOrBelow(ranges, start, 0)
  const holds = before >= 0 && compareBounds(start, 0, ranges.end, before * width, width) <= 0
  const at = (holds ? before : before + 1) * width
  if (at >= ranges.length * width || compareBounds(ranges.start, at, end, 0, width) > 0) return undefined
  const isOver = compareBounds(ranges.end, at, end, 0, width) > 0
  return {
    family,
    start: holds ? start : ranges.start.subarray(at, at + width),
    end: isOver ? end : ranges.end.subarray(at, at + width),
  }
}

/** The allowlist entries that beat a ban of the prefix, those for every packet first. */
export function sparedIn({ lists }: Pick<State, 'lists'>, prefix: Prefix): Spared[] {
  const found = [...lists.values()]
    .filter(({ kind }) => kind === 'allowlist')
    .flatMap(({ name, sets }) =>
      sets.flatMap((set): Spared[] => {
        const shared = sharedWith(set, prefix)
        if (!shared) return []
        const packets = scopeKey(set.scope)
        const addresses = formatRange(shared.family, shared.start, shared.end)
        const isWhole = packets === 'any' && addresses === formatRange(prefix.family, prefix.start, prefix.end)
        return [{ list: name, packets, addresses, isWhole }]
      }),
    )
  return found.sort((left, right) => Number(right.isWhole) - Number(left.isWhole))
}

/** For each of the banned prefixes, the allowlist entries that beat its ban. */
export async function sparedBans(host: Host, prefixes: readonly Prefix[]): Promise<(readonly Spared[])[]> {
  const paths = pinPaths(host.bpffs, host.instance)
  const single = prefixes.filter(isSingle)
  const answers = await inLists(paths, single)
  const isListed = (prefix: Prefix): boolean => !isSingle(prefix) || answers[single.indexOf(prefix)] === true
  if (!prefixes.some(isListed)) return prefixes.map(() => [])
  // Reads the tables, which most bans need not wait for.
  const [{ observe }, { settled }] = await Promise.all([
    import('../kernel/observe/observe.ts'),
    import('../kernel/observe/settled.ts'),
  ])
  const { state } = await settled(paths, () => observe(paths, host))
  return prefixes.map((prefix) => (isListed(prefix) ? sparedIn(state, prefix) : []))
}
