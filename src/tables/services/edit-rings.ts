// Finds the rings that two images share. A ring depends only on the line of its service and those of its backends, so
// comparing these few lines identifies the unchanged rings, without building either ring.

import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { backendCodec, LINE_SIZE, serviceCodec } from '../../abi/generated.ts'
import { type Backend, compareBackends, takesFlows } from '../../model/service.ts'
import type { Previous } from '../layout/difference.ts'
import type { KeptRings } from '../layout/layout.ts'
import { LineDigester } from '../lines/line-digest.ts'
import { isSameLine, LINE_WORDS, viewOf } from '../lines/lines.ts'
import { measureRing, ringWords, usedLines } from './rings.ts'
import { backendOf } from './service-lines.ts'
import type { ServiceSections } from './services.ts'

interface Lines {
  readonly services: Uint32Array
  readonly backends: Uint32Array
}

/** Position and size of a service's ring. */
interface Place {
  readonly first: number
  readonly size: number
  readonly takers: number
  readonly backups: number
}

/** By service slot, for services with a ring. */
function placesOf({ services }: Lines): Map<number, Place> {
  const view = viewOf(services)
  const places = new Map<number, Place>()
  const { ring, ring_size, takers, backups } = serviceCodec.offsets
  for (let slot = 0; slot < services.length / LINE_WORDS; slot++) {
    const at = slot * LINE_SIZE
    const [first = 0, size = 0] = [ring, ring_size].map((offset) => view.getUint32(at + offset, LITTLE_ENDIAN))
    const counts = [takers, backups].map((offset) => view.getUint16(at + offset, LITTLE_ENDIAN))
    const place = { first, size, takers: counts[0] as number, backups: counts[1] as number }
    if (usedLines(place) > 0) places.set(slot, place)
  }
  return places
}

/** The backend in a slot, if it is in the ring of its service or in its table of backups. */
function takerIn(
  { backends }: Lines,
  slot: number,
): { readonly service: number; readonly backend: Backend } | undefined {
  if ((slot + 1) * LINE_WORDS > backends.length) return undefined
  const found = backendOf(viewOf(backends), slot)
  if (!found || found.role.leaving || found.role.sorry || !takesFlows(found.backend)) return undefined
  return { service: found.role.service, backend: found.backend }
}

/** Slots of services with a backend that is in the ring of only one image, or differs there. */
function servicesWithOthers(now: Lines, old: Lines): Set<number> {
  const changed = new Set<number>()
  const slots = Math.max(now.backends.length, old.backends.length) / LINE_WORDS
  const common = Math.min(now.backends.length, old.backends.length) / LINE_WORDS
  for (let slot = 0; slot < slots; slot++) {
    if (slot < common && isSameLine(now.backends, old.backends, slot)) continue
    const [one, other] = [takerIn(now, slot), takerIn(old, slot)]
    const isSame =
      one?.service === other?.service &&
      one?.backend.weight === other?.backend.weight &&
      one?.backend.backup === other?.backend.backup &&
      (!one || !other || compareBackends(one.backend, other.backend) === 0)
    if (isSame) continue
    if (one) changed.add(one.service)
    if (other) changed.add(other.service)
  }
  return changed
}

/** The lines of rings, by service slot. */
function ringsOf(lines: Lines, services: ReadonlySet<number>): Map<number, Uint32Array> {
  const takers = new Map([...services].map((service) => [service, [] as { slot: number; backend: Backend }[]]))
  const view = viewOf(lines.backends)
  for (let slot = 0; slot < lines.backends.length / LINE_WORDS; slot++) {
    const own = takers.get(view.getUint16(slot * LINE_SIZE + backendCodec.offsets.service, LITTLE_ENDIAN))
    const found = own && takerIn(lines, slot)
    if (found) own.push({ slot, backend: found.backend })
  }
  return new Map(
    [...takers].map(([service, own]) => {
      own.sort((a, b) => compareBackends(a.backend, b.backend))
      const backends = own.map(({ backend }) => backend)
      return [
        service,
        ringWords(
          measureRing(
            backends,
            Uint16Array.from(own, ({ slot }) => slot),
          ),
        ),
      ]
    }),
  )
}

const isSamePlace = (a: Place, b: Place | undefined): boolean =>
  a.first === b?.first && a.size === b.size && a.takers === b.takers && a.backups === b.backups

/**
 * Finds the rings unchanged since the previous image, whose lines are known to be as written. undefined: nothing is
 * known of it, or so few rings are unchanged that building all is faster.
 */
export function keepRings({ directory, sections }: Previous, compiled: ServiceSections): KeptRings | undefined {
  const { SERVICES, BACKENDS } = sections
  if (!SERVICES || !BACKENDS || directory.RINGS.lines === 0) return undefined
  const old: Lines = { services: SERVICES, backends: BACKENDS }
  const [places, oldPlaces] = [placesOf(compiled), placesOf(old)]
  const others = servicesWithOthers(compiled, old)
  const isKept = (slot: number, place: Place): boolean => !others.has(slot) && isSamePlace(place, oldPlaces.get(slot))
  const kept = new Map([...places].filter(([slot, place]) => isKept(slot, place)))
  const gone = new Set([...oldPlaces.keys()].filter((slot) => !kept.has(slot)))
  const made = [...places.keys()].filter((slot) => !kept.has(slot))
  if (gone.size + made.length > kept.size) return undefined
  const { digest: of } = directory.RINGS
  const digester = new LineDigester(of)
  for (const [slot, words] of ringsOf(old, gone)) {
    const place = oldPlaces.get(slot) as Place
    // Another build may have chosen other backends for the ring.
    if (words.length !== usedLines(place) * LINE_WORDS) return undefined
    digester.add(words, 0, usedLines(place), place.first, -1)
  }
  for (const slot of made) {
    const place = places.get(slot) as Place
    digester.add(compiled.rings.linesOf(slot), 0, usedLines(place), place.first)
  }
  return { of, digest: digester.digest, rings: [...kept.values()].map(({ first }) => first) }
}
