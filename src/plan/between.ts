// The difference of two policies that are compared and not applied: of two configs, or of a config and the live state.

import type { Backend, Service } from '../model/service.ts'
import type { Attachment, State } from '../model/state.ts'
import type { Change } from './change.ts'
import { diffStates } from './diff.ts'
import { order } from './reading-order.ts'

const withoutHop = (backend: Backend): Backend => ({ ...backend, nextHop: undefined })

/** A service without what the kernel knows: next hops, and ports of the host's own sockets. */
const plainService = (service: Service): Service => ({
  ...service,
  backends: service.backends.map(withoutHop),
  sorry: service.sorry && withoutHop(service.sorry),
  snatPool: service.snatPool.map(({ family, words }) => ({ family, words, hostPorts: undefined })),
})

/** A policy without the build of the program and what the kernel knows. */
const plain = (state: State): State => ({
  ...state,
  program: undefined,
  localPorts: undefined,
  receiveMax: undefined,
  services: new Map([...state.services].map(([name, service]) => [name, plainService(service)])),
})

/** A live attachment has one of the modes that a config permits: with those of `other` if it permits the same. */
const likewise = (one: Attachment, other: Attachment | undefined): Attachment =>
  other?.modes.every((mode) => one.modes.includes(mode)) ? { ...one, modes: other.modes } : one

const withModesOf = (state: State, { interfaces }: State): State => ({
  ...state,
  interfaces: new Map([...state.interfaces].map(([name, one]) => [name, likewise(one, interfaces.get(name))])),
})

/** The changes that turn one policy into the other, in the order of a plan. */
export function changesBetween(from: State, to: State): readonly Change[] {
  const [before, after] = [plain(from), plain(to)]
  return order(diffStates(withModesOf(before, after), withModesOf(after, before)))
}
