// Bytes of the map `health`: one for each backend, then one for each service, by slot.

import type { Slots } from '../model/live.ts'
import type { Overlay, ServiceMode } from '../model/overlay.ts'
import { HEALTH_DOWN, HEALTH_SERVICES, SERVICE_HEALTH } from './generated.ts'

/** Values by the number of their byte: see backendByte and serviceByte. */
export type HealthBytes = ReadonlyMap<number, number>

export const backendByte = (slot: number): number => slot
export const serviceByte = (slot: number): number => HEALTH_SERVICES + slot

const MODES: Readonly<Record<ServiceMode, number>> = {
  well: SERVICE_HEALTH.WELL,
  empty: SERVICE_HEALTH.EMPTY,
  drop: SERVICE_HEALTH.FALLBACK_DROP,
  sorry: SERVICE_HEALTH.FALLBACK_SORRY,
  backup: SERVICE_HEALTH.FALLBACK_BACKUP,
}
const MODE_NAMES = new Map(Object.entries(MODES).map(([name, value]) => [value, name as ServiceMode]))

/** Of 255 new flows, how many a backend with this share (0 to 1) leaves to others; HEALTH_DOWN: it takes no flow. */
export function shortfallOf(share: number): number {
  if (share <= 0) return HEALTH_DOWN
  return Math.min(HEALTH_DOWN - 1, Math.max(0, Math.round((1 - share) * HEALTH_DOWN)))
}

export const shareOf = (shortfall: number): number => (HEALTH_DOWN - shortfall) / HEALTH_DOWN

type HealthSlots = Pick<Slots, 'services' | 'backends'>

/** The bytes of an overlay; services and backends without a slot are left out. */
export function encodeOverlay(overlay: Overlay, { services, backends }: HealthSlots): Map<number, number> {
  const bytes = new Map<number, number>()
  for (const [name, { mode, shares }] of overlay) {
    const slot = services.get(name)
    if (slot !== undefined) bytes.set(serviceByte(slot), MODES[mode])
    for (const [key, share] of shares) {
      const backend = backends.get(`${name}/${key}`)
      if (backend !== undefined) bytes.set(backendByte(backend), shortfallOf(share))
    }
  }
  return bytes
}

/** The overlay that the bytes of these slots hold; a missing byte counts as zero. */
export function decodeOverlay(bytes: HealthBytes, { services, backends }: HealthSlots): Overlay {
  const shares = new Map<string, Map<string, number>>([...services.keys()].map((name) => [name, new Map()]))
  for (const [name, slot] of backends) {
    const at = name.indexOf('/')
    shares.get(name.slice(0, at))?.set(name.slice(at + 1), shareOf(bytes.get(backendByte(slot)) ?? 0))
  }
  return new Map(
    [...services].map(([name, slot]) => [
      name,
      {
        mode: MODE_NAMES.get(bytes.get(serviceByte(slot)) ?? 0) ?? 'well',
        shares: shares.get(name) ?? new Map<string, number>(),
      },
    ]),
  )
}

/** The numbers of all bytes of these slots. */
export const bytesOfSlots = ({ services, backends }: HealthSlots): number[] => [
  ...[...backends.values()].map(backendByte),
  ...[...services.values()].map(serviceByte),
]
