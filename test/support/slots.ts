// Slots for everything in a state, as a planner assigns them in an empty instance.

import type { Slots } from '../../src/model/live.ts'
import { backendSlotKey } from '../../src/model/service.ts'
import type { State } from '../../src/model/state.ts'
import { formatAddress } from '../../src/model/text.ts'

/** `place`: the slot of the n-th name in order. */
export function slotsFor(
  { lists, services, interfaces, rateLimits }: Pick<State, 'lists' | 'services' | 'interfaces' | 'rateLimits'>,
  place: (n: number) => number = (n) => n,
): Slots {
  const numbered = (names: Iterable<string>, first = 0): Map<string, number> =>
    new Map([...new Set(names)].sort().map((name, n) => [name, place(n) + first]))
  const all = [...services.values()]
  return {
    interfaces: numbered(interfaces.keys(), 1),
    lists: numbered(lists.keys()),
    services: numbered(services.keys()),
    backends: numbered(
      all.flatMap(({ name, backends, sorry }) =>
        [...backends, ...(sorry ? [sorry] : [])].map((backend) => backendSlotKey(name, backend)),
      ),
    ),
    rates: numbered(rateLimits?.keys() ?? []),
    pools: numbered(all.flatMap(({ snatPool }) => snatPool.map(({ family, words }) => formatAddress(family, words)))),
  }
}
