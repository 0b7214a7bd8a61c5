// The guard of bans: the judge of an apply (ADR 0065), asked for the addresses of the bans alone. The live program says
// which packets pass now, and a ban drops those that no allowlist entry lets pass.

import { banningJudge } from '../kernel/live/answers.ts'
import { findCuts } from '../kernel/live/cuts.ts'
import type { Caution } from '../kernel/live/protect.ts'
import { observe, refuseOtherNamespace } from '../kernel/observe/observe.ts'
import { loadObject } from '../kernel/tools/object.ts'
import type { Address } from '../model/address.ts'
import { type BanOrder, type BanRefusal, coversAddress } from '../model/ban.ts'
import type { Cut } from '../model/contact.ts'
import { formatRange, sameAddress } from '../model/text.ts'
import { guardCuts } from '../plan/cuts.ts'
import { protectWithin, witnessesOf } from '../plan/witnesses.ts'
import { presentJudge } from './present.ts'
import { type Host, sessionOf } from './session.ts'

/** Addresses of this host, which no traffic but that of a forger comes from: most often the prefix was mistyped. */
function ownRefusals({ prefix, allowed }: BanOrder, { own }: Caution): BanRefusal[] {
  const isAllowed = (address: Uint32Array): boolean => allowed.prefixes.some((one) => coversAddress(one, address))
  const found = own.filter(({ address }) => coversAddress(prefix, address) && !isAllowed(address))
  if (found.length === 0) return []
  const what = [...new Set(found.map((one) => one.what))].slice(0, 3).join(', and ')
  const title = formatRange(prefix.family, prefix.start, prefix.end)
  const message = `a ban of ${title} would cover ${what}`
  return [{ code: 'E207', message, hint: 'to ban it anyway, add `--force-cut`' }]
}

const distinct = (addresses: readonly Address[]): Address[] =>
  addresses.filter((one, at) => addresses.findIndex((other) => sameAddress(one, other)) === at)

/** Judges bans; returns those to refuse with the reasons. Throws E201 in another namespace. */
export async function judgeBans(
  host: Host,
  orders: readonly BanOrder[],
  caution: Caution,
): Promise<ReadonlyMap<BanOrder, readonly BanRefusal[]>> {
  const session = sessionOf(host)
  const live = await observe(session.paths, host)
  refuseOtherNamespace(live)
  const { state, slots, links } = live
  const isBanned = ({ words }: { readonly words: Uint32Array }): boolean =>
    orders.some(({ prefix }) => coversAddress(prefix, words))
  const protect = protectWithin(
    caution.protect,
    orders.map(({ prefix }) => prefix),
  )
  const judge = presentJudge(session, live, (await loadObject()).program)
  const cuts = await findCuts({
    links,
    witnesses: witnessesOf(protect, { before: state, after: state }),
    clients: distinct(orders.flatMap(({ peers }) => peers)),
    only: isBanned,
    before: { state, slots, judge },
    after: { state, slots, judge: banningJudge(judge, isBanned) },
  })
  return new Map(
    orders.map((order) => {
      const isCut = ({ contact: { peer } }: Cut): boolean => coversAddress(order.prefix, peer.words)
      const refused = guardCuts({ ...cuts, cut: cuts.cut.filter(isCut) }, order.allowed, undefined)
      const errors = refused.map(({ code, message, hint = '' }): BanRefusal => ({ code, message, hint }))
      return [order, [...ownRefusals(order, caution), ...errors]]
    }),
  )
}
