// Reference model of the sources that exceed a rate limit with `ban` (bpf/include/rate_ban.h): the places of one set, what a
// packet of a source near its rate makes of them, and which sources a run reports. Times in ns, balances in the units of rates.

/** A place; `owner` 0n: it is free. */
export interface Offender {
  /** Slot of the limit + 1. */
  readonly owner: bigint
  readonly source: string
  /** Up to when the source itself has used its rate. */
  readonly own: bigint
  /** Its last packet beyond the rate of the shared buckets. */
  readonly seen: bigint
  /** It exceeds the limit by itself since then. */
  readonly since: bigint
  /** And did so last; 0n: never. */
  readonly last: bigint
}

/** A packet that exceeds the shared buckets of its source, or finds them more than half full. */
export interface Suspicious {
  readonly owner: bigint
  readonly source: string
  readonly isBeyond: boolean
  readonly now: bigint
  /** `now` in the units of rates, the cost of the packet, and the burst of the limit. */
  readonly clock: bigint
  readonly cost: bigint
  readonly burst: bigint
}

/** A pause that ends the time for which a source exceeds a limit, and after which its place is free. */
const PAUSE = 1_500_000_000n
const MS = 1_000_000n

const later = (a: bigint, b: bigint): bigint => (a > b ? a : b)

/** The place of the source, or with a packet beyond the rate the first one that is free; -1: none. */
function placeOf(set: readonly Offender[], { owner, source, isBeyond, now }: Suspicious): number {
  const own = set.findLastIndex((place) => place.owner === owner && place.source === source)
  if (own >= 0 || !isBeyond) return own
  return set.findIndex(({ seen }) => seen === 0n || now > seen + PAUSE)
}

/** The set after the packet. */
export function followOffender(set: readonly Offender[], packet: Suspicious): readonly Offender[] {
  const at = placeOf(set, packet)
  const before = set[at]
  if (before === undefined) return set
  const { owner, source, isBeyond, now, clock, cost, burst } = packet
  const isTaken = before.owner !== owner || before.source !== source
  const place = isTaken ? { owner, source, own: 0n, since: 0n, last: 0n } : before
  const seen = isBeyond ? now : before.seen
  const least = later(place.own, clock)
  if (least + cost - clock <= burst || least <= clock) return set.with(at, { ...place, seen, own: least + cost })
  const isPaused = place.last === 0n || now > place.last + PAUSE
  return set.with(at, { ...place, seen, since: isPaused ? now : place.since, last: now })
}

/** The places that a run reports, and the set after it. `after`: ms by slot that a source must exceed the limit. */
export function reportOffenders(
  set: readonly Offender[],
  now: bigint,
  after: ReadonlyMap<number, number>,
): { readonly reported: readonly Offender[]; readonly set: readonly Offender[] } {
  const isReported = ({ owner, last, since }: Offender): boolean => {
    const least = owner === 0n ? undefined : after.get(Number(owner) - 1)
    if (!least || last === 0n || now > last + PAUSE || last < since) return false
    return last - since >= BigInt(least) * MS
  }
  return {
    reported: set.filter(isReported),
    set: set.map((place) => (isReported(place) ? { ...place, since: place.last } : place)),
  }
}
