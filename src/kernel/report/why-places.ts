// The interfaces on which a packet of a `why` is judged.

import { PLACES, type Place, placeOn } from '../../abi/place.ts'
import { XdpError } from '../../diagnostics.ts'
import { shapesOf } from '../../model/link.ts'
import type { Live } from '../../model/live.ts'
import { nearest } from '../../model/nearest.ts'
import type { State } from '../../model/state.ts'
import { dependsOnInterface } from '../../semantics/judge.ts'
import type { Named, Query } from './why-parts.ts'

/** Facts besides the file that a verdict by it depends on. */
export type Surroundings = Pick<Live, 'links' | 'nextHops'>

/** The interfaces to judge a packet on: that of the query, else each of the state if the verdict may depend on it. */
export function namesFor(state: State, live: Surroundings, { interface: name }: Query): string[] {
  if (name !== undefined) return [name]
  return dependsOnInterface(state) ? [...state.interfaces.keys()].filter((one) => live.links.has(one)).sort() : []
}

/** Where no interface is named: the packet arrives as it would on those of the policy. */
export const anywhere = ({ interfaces }: State, { links }: Surroundings): Place & Named => ({
  name: undefined,
  ...PLACES[shapesOf(interfaces.keys(), links)[0] ?? 'ethernet'],
})

/** The interfaces to judge a packet on, as the live state knows them. */
export function placesFor(live: Surroundings & Pick<Live, 'state' | 'slots'>, query: Query): (Place & Named)[] {
  const named = namesFor(live.state, live, query).flatMap((name) => {
    const link = live.links.get(name)
    const roles = live.state.interfaces.get(name)?.roles
    return link ? [{ name, ...placeOn(link, live.slots.interfaces.get(name), roles) }] : []
  })
  return named.length > 0 ? named : [anywhere(live.state, live)]
}

/** The generation that an interface runs. Throws E103 for a missing one, E114 for one without our program. */
export function generationOn(live: Pick<Live, 'links' | 'state'>, name: string): number {
  const link = live.links.get(name)
  const generation = link?.programs.find((program) => program.generation !== undefined)?.generation
  if (generation !== undefined) return generation
  const attached = [...live.state.interfaces.keys()]
  const meant = nearest(name, attached)
  throw new XdpError([
    {
      code: link ? 'E114' : 'E103',
      severity: 'error',
      message: link ? `interface ${name} does not run our program` : `interface ${name} does not exist`,
      hint: meant ? `did you mean ${meant}?` : `our program runs on ${attached.join(', ') || 'no interface'}`,
    },
  ])
}
