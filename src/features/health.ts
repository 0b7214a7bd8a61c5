// Health of backends and services: bytes beside the policy, which a daemon writes and every generation reads.
//
// An apply resets the bytes of slots with a new owner before the switch, and again after it has locked out writers of
// older generations: in between, a daemon may still have written for the previous owner. Results of health checks stay
// while a daemon runs; without one nothing would ever update them, so every backend counts as up.

import {
  CHECK_SOURCES,
  checkDeviceCodec,
  checkSourceCodec,
  HEALTH_LINES,
  HEALTH_STATE_LINE,
  healthStateCodec,
  LINE_SIZE,
  SERVICE_HEALTH,
} from '../abi/generated.ts'
import { backendByte, bytesOfSlots, type HealthBytes, serviceByte } from '../abi/health.ts'
import { arrayMap, type MapShape, MMAPABLE, NO_PREALLOC } from '../abi/paths.ts'
import type { Served } from '../model/live.ts'
import { type Backend, isInRing, isStandby, type Service } from '../model/service.ts'
import type { Feature, Lowering, NewGeneration } from './feature.ts'
import { newlyOwned } from './filter.ts'
import { HEALTH_METRICS } from './health-metrics.ts'
import type { Step } from './step.ts'

const checkSources: MapShape = {
  name: 'check_sources',
  type: 'hash',
  keySize: checkSourceCodec.size,
  valueSize: checkDeviceCodec.size,
  entries: CHECK_SOURCES,
  flags: NO_PREALLOC,
}

const maps = { health: arrayMap('health', LINE_SIZE, HEALTH_LINES, MMAPABLE), checkSources } as const
const programs = { write: 'health_write' } as const

export const HEALTH = {
  name: 'health',
  maps,
  programs,
  reasons: ['check-answer'],
  needs: [],
  prepare: (lowering: Lowering): Step[] => writeStep(lowering, 'write-health', (bytes) => bytes.fresh),
  committed: (lowering: Lowering): Step[] => writeStep(lowering, 'claim-health', (bytes) => bytes.after),
  reverted: reclaimSteps,
  metrics: HEALTH_METRICS,
} as const satisfies Feature

/** Bytes that an apply writes. */
interface Resets {
  /** Before the switch: slots with a new owner start healthy. */
  readonly fresh: HealthBytes
  /** After the commit: these slots again, and services without a usable backend; without a daemon, every byte. */
  readonly after: HealthBytes
}

/** The mode of a service whose backends are all healthy, as a byte. */
function restingMode({ backends }: Service): number {
  const some = (isIn: (backend: Backend) => boolean): boolean =>
    backends.some((backend) => isIn(backend) && backend.nextHop !== undefined)
  if (some(isInRing)) return SERVICE_HEALTH.WELL
  return some(isStandby) ? SERVICE_HEALTH.FALLBACK_BACKUP : SERVICE_HEALTH.EMPTY
}

/** The value of every byte while no daemon checks backends. */
export function restingBytes({ services, slots }: Pick<Served, 'services' | 'slots'>): HealthBytes {
  const bytes = new Map(bytesOfSlots(slots).map((number) => [number, 0]))
  for (const [name, slot] of slots.services) {
    const service = services.get(name)
    if (service) bytes.set(serviceByte(slot), restingMode(service))
  }
  return bytes
}

/** undefined without services before and after. */
function resetsOf({ plan: { slots, state }, live, target }: Lowering): Resets | undefined {
  if (!target.image || (state.services.size === 0 && live.state.services.size === 0)) return undefined
  // A new map holds zeros, which mean up.
  const isNew = live.instance.missing.includes(maps.health) || live.slots.services.size === 0
  const [before, after] = [
    { services: live.state.services, slots: live.slots },
    { services: state.services, slots },
  ]
  return resetsBetween(before, after, target.keepsHealth, isNew)
}

type Owners = Pick<Served, 'services' | 'slots'>

function resetsBetween(old: Owners, { services: wanted, slots }: Owners, keepsHealth: boolean, isNew: boolean): Resets {
  const zeros: HealthBytes = new Map(
    isNew
      ? []
      : [
          ...newlyOwned(old.slots.backends, slots.backends).map((slot) => [backendByte(slot), 0] as const),
          ...newlyOwned(old.slots.services, slots.services).map((slot) => [serviceByte(slot), 0] as const),
        ],
  )
  if (!keepsHealth && !isNew) return { fresh: zeros, after: restingBytes({ services: wanted, slots }) }
  const services = [...wanted.values()].flatMap((service): (readonly [number, number])[] => {
    const before = old.services.get(service.name)
    const byte = serviceByte(slots.services.get(service.name) ?? 0)
    const mode = restingMode(service)
    if (mode !== SERVICE_HEALTH.WELL) return [[byte, mode]]
    return before && restingMode(before) !== mode ? [[byte, mode]] : []
  })
  return { fresh: zeros, after: new Map([...zeros, ...services]) }
}

function writeStep(
  lowering: Lowering,
  kind: 'write-health' | 'claim-health',
  choose: (resets: Resets) => HealthBytes,
): Step[] {
  const resets = resetsOf(lowering)
  if (!resets) return []
  const { paths, target } = lowering
  const bytes = choose(resets)
  // A claim without bytes still locks out writers of older generations.
  if (bytes.size === 0 && kind === 'write-health') return []
  const { generation } = target
  return [{ kind, generation, program: paths.program(generation, programs.write), bytes }]
}

/** Gives the map back to the previous generation: the kernel refuses its writes since the later one claimed the map. */
function reclaimSteps({ paths, plan, live, target }: NewGeneration): Step[] {
  const { committed } = live
  if (!committed || (plan.state.services.size === 0 && live.state.services.size === 0)) return []
  const value = new Uint8Array(healthStateCodec.size)
  const view = new DataView(value.buffer)
  healthStateCodec.encode({ generation: BigInt(committed.number) }, view)
  const [before, after] = [
    { services: plan.state.services, slots: plan.slots },
    { services: live.state.services, slots: live.slots },
  ]
  const program = paths.program(committed.number, programs.write)
  const { after: bytes } = resetsBetween(before, after, target.keepsHealth, false)
  return [
    { kind: 'forget', map: paths.sharedMap(maps.health), key: HEALTH_STATE_LINE, value },
    { kind: 'claim-health', generation: committed.number, program, bytes },
  ]
}
