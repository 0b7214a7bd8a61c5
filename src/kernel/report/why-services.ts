// The service and the backend that a packet of a `why` goes to.

import type { Explanation } from '../../abi/generated.ts'
import { bytesOfSlots } from '../../abi/health.ts'
import { NONE, type TestPacket } from '../../abi/packet.ts'
import type { Paths } from '../../abi/paths.ts'
import type { Desired } from '../../model/desired.ts'
import { UDP } from '../../model/ports.ts'
import { backendKey, backendSlotKey, everyBackend } from '../../model/service.ts'
import type { Judgement } from '../../report/result.ts'
import type { Balanced } from '../../semantics/balance.ts'
import { readHealth } from '../live/health.ts'
import type { Observation } from '../observe/observe.ts'

/** The service and its backend, if flows have a fixed one, with the line of the file that names it. */
export function balancedPart(
  { service, backend }: Pick<Balanced, 'service' | 'backend'>,
  desired: Desired | undefined,
): Pick<Judgement, 'at' | 'service' | 'backend' | 'backup'> {
  const known = backend && service?.scheduler !== 'random' ? backendKey(backend) : undefined
  const places = service && desired?.provenance.services.get(service.name)
  const place = known === undefined ? places?.at : places?.backend(known)
  const backup = known !== undefined && backend?.backup === true
  return { service: service?.name, backend: known, backup, at: place && `${place.file}:${place.line}` }
}

/** The service and the backend with the slots that the data plane reported. */
export function liveBalanced(
  live: Observation,
  { service, backend }: Explanation,
): Pick<Balanced, 'service' | 'backend'> {
  const name = [...live.slots.services].find(([, slot]) => service !== NONE && slot === service)?.[0]
  const key = [...live.slots.backends].find(([, slot]) => backend !== NONE && slot === backend)?.[0]
  const found = live.state.services.get(name ?? '')
  const own = found && [...everyBackend(found), ...live.leaving.map((one) => one.backend)]
  return { service: found, backend: own?.find((one) => backendSlotKey(found?.name ?? '', one) === key) }
}

/**
 * Whether the data plane sends the packet to the backend of the tables. Health may choose another backend of the
 * service, and so may a known UDP flow.
 */
export async function agreesWithTables(
  paths: Paths,
  live: Observation,
  { protocol = UDP }: TestPacket,
  { service, backend }: Pick<Balanced, 'service' | 'backend'>,
  model: Balanced | undefined,
): Promise<boolean> {
  if (service?.name !== model?.service?.name) return false
  if (service === undefined || backend === undefined) return backend === model?.backend
  if (model?.backend && backendKey(backend) === backendKey(model.backend)) return true
  if (protocol === UDP) return true
  const bytes = await readHealth(paths, bytesOfSlots(live.slots))
  return [...bytes.values()].some((byte) => byte !== 0)
}
