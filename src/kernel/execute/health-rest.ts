// What an apply makes of health, which is no part of a plan: slots with a new owner begin well, and a service without
// a backend that could take a flow is empty. What a daemon found out stays for as long as a daemon is there; without
// one nobody would ever take it back, so all is taken to be well.

import { SERVICE_HEALTH } from '../../abi/generated.ts'
import type { Paths } from '../../abi/paths.ts'
import type { Served } from '../../model/live.ts'
import { type Service, takesFlows } from '../../model/service.ts'
import type { State } from '../../model/state.ts'
import type { Plan } from '../../plan/change.ts'
import type { Host } from '../host/host.ts'
import { isWatched } from '../host/lock.ts'
import { backendByte, bytesOfSlots, type HealthBytes, readHealth, serviceByte, writeHealth } from '../live/health.ts'
import type { Observation } from '../observe/observe.ts'
import { fresh } from './balance-maps.ts'

/** Health that an apply writes. */
export interface HealthSteps {
  /** Before the switch: slots that get an owner begin well. */
  readonly fresh: HealthBytes
  /** When it is done: the same, and services that can send no flow anywhere; without a daemon, everything. */
  readonly after: HealthBytes
}

/** Whether no backend of the service could take a flow, whatever its health. */
const isEmpty = ({ backends }: Service): boolean =>
  !backends.some((backend) => takesFlows(backend) && backend.nextHop !== undefined)

/** Every byte while nobody knows better. */
function restingBytes({ services, slots }: Pick<Served, 'services' | 'slots'>): HealthBytes {
  const bytes = new Map(bytesOfSlots(slots).map((number) => [number, 0]))
  for (const [name, slot] of slots.services) {
    const service = services.get(name)
    if (service && isEmpty(service)) bytes.set(serviceByte(slot), SERVICE_HEALTH.EMPTY)
  }
  return bytes
}

/** undefined where there are no services, before or after. `keeps`: what was found out about them stays. */
export function healthSteps(plan: Plan, state: State, live: Observation, keeps: boolean): HealthSteps | undefined {
  if (state.services.size === 0 && live.state.services.size === 0) return undefined
  // A new map holds zeros, which say that all is well.
  const isNew = live.instance.missing.includes('health') || live.slots.services.size === 0
  const zeros: HealthBytes = new Map(
    isNew
      ? []
      : [
          ...fresh('backends', live.slots, plan.slots).map((slot) => [backendByte(slot), 0] as const),
          ...fresh('services', live.slots, plan.slots).map((slot) => [serviceByte(slot), 0] as const),
        ],
  )
  if (!keeps && !isNew) return { fresh: zeros, after: restingBytes({ services: state.services, slots: plan.slots }) }
  const services = [...state.services.values()].flatMap((service): (readonly [number, number])[] => {
    const before = live.state.services.get(service.name)
    const byte = serviceByte(plan.slots.services.get(service.name) ?? 0)
    if (isEmpty(service)) return [[byte, SERVICE_HEALTH.EMPTY]]
    return before && isEmpty(before) ? [[byte, SERVICE_HEALTH.WELL]] : []
  })
  return { fresh: zeros, after: new Map([...zeros, ...services]) }
}

/** Whether an apply under the lock has to take all for well: there are services, and no daemon that knows of them. */
export const forgetsHealth = async (host: Host, { services }: State, live: Observation): Promise<boolean> =>
  (services.size > 0 || live.state.services.size > 0) && !(await isWatched(host))

/** The same for an apply that makes no generation: writes what a daemon that is gone has left. */
export async function restHealth(paths: Paths, live: Observation): Promise<void> {
  if (live.state.services.size === 0 || live.instance.missing.length > 0) return
  const wanted = restingBytes({ services: live.state.services, slots: live.slots })
  const found = await readHealth(paths, wanted.keys())
  const stale = [...wanted].filter(([number, value]) => found.get(number) !== value)
  await writeHealth(paths, live.generation, new Map(stale))
}
