// Places: interfaces on which test packets arrive, for the program (metadata of the test run) and for the model.

import { type Shape, shapeOf } from '../model/link.ts'
import type { Link } from '../model/live.ts'
import { EVERY_ROLE, type Role, type State } from '../model/state.ts'
import { type Ingress, TEST_INGRESS } from '../semantics/judge.ts'
import { INTERFACE_FLAG, type TestRun } from './generated.ts'
import { ANYWHERE, ANYWHERE_BARE } from './packet.ts'

export interface Place {
  readonly arrival: TestRun
  readonly ingress: Ingress
}

/** A link that an interface of the policy may be. */
type PlacedLink = Pick<Link, 'name' | 'ifindex' | 'kind' | 'linkType' | 'isMultipoint'>

/** Flags of an interface itself, in its entry and in test runs that stand for it. */
export const flagsOf = (link: Parameters<typeof shapeOf>[0]): number => (shapeOf(link) === 'ip' ? INTERFACE_FLAG.IP : 0)

/** Where no interface is named: one with all roles, with packets of the shape. The balancer leaves bare packets alone. */
export const PLACES: Readonly<Record<Shape, Place>> = {
  ethernet: { arrival: ANYWHERE, ingress: TEST_INGRESS },
  ip: { arrival: ANYWHERE_BARE, ingress: { ...TEST_INGRESS, roles: ['filter'] } },
}

/** An interface for the model. `roles`: as configured. */
export const ingressOn = (link: PlacedLink, roles: readonly Role[] = EVERY_ROLE): Ingress => ({
  ifindex: link.ifindex,
  interface: link.name,
  roles: shapeOf(link) === 'ip' ? roles.filter((role) => role !== 'balance') : roles,
})

/** An interface. The program does not know one without a slot, so that scopes do not find it. */
export function placeOn(link: PlacedLink, slot: number | undefined, roles?: readonly Role[]): Place {
  const ingress = ingressOn(link, roles)
  return {
    arrival: { ifindex: link.ifindex, slot: slot ?? 0, flags: flagsOf(link) },
    ingress: slot === undefined ? { ...ingress, interface: undefined } : ingress,
  }
}

/** Those interfaces of a state that exist and have a slot, in the order of names. */
export const placesOf = (
  { interfaces }: Pick<State, 'interfaces'>,
  links: ReadonlyMap<string, PlacedLink>,
  slots: ReadonlyMap<string, number>,
): (Place & { readonly name: string })[] =>
  [...interfaces.values()]
    .flatMap(({ interface: name, roles }) => {
      const [link, slot] = [links.get(name), slots.get(name)]
      return link && slot !== undefined ? [{ name, ...placeOn(link, slot, roles) }] : []
    })
    .sort((left, right) => (left.name < right.name ? -1 : 1))
