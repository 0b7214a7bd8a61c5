// Reads the services of all files of a config one by one; service-conflicts.ts then compares them with each other.

import type { Location } from '../../diagnostics.ts'
import {
  FORWARDING_KEYS,
  FORWARDING_MODES,
  type ForwardingKey,
  forwardingsThat,
} from '../../features/forwarding/forwarding.ts'
import type { ServicePlaces } from '../../model/desired.ts'
import type { ServiceHealth } from '../../model/health.ts'
import { type Backend, backendKey, GUE_PORT, type Service, UDP_TIMEOUT } from '../../model/service.ts'
import { readUnicast } from '../entries/address.ts'
import { readDuration } from '../text/duration.ts'
import { lineOf, reportTwice } from '../text/part.ts'
import { fieldOf, keyLocation, locationOf, type Reading, reportAt } from '../text/place.ts'
import { nested, type Report } from '../text/report.ts'
import { quote } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import { type Frame, readBackend, readBackends } from './backends.ts'
import { checkBackups } from './backups.ts'
import { readHealth } from './health.ts'
import { readOuterSource, readPool } from './pool.ts'
import { readPorts, readProtocols } from './ports.ts'
import type { ReadService } from './read-service.ts'
import { reportConflicts } from './service-conflicts.ts'
import type { PlacedService } from './service-texts.ts'
import type { WrittenService } from './written-services.ts'

export interface Services {
  readonly services: ReadonlyMap<string, Service>
  readonly health: ReadonlyMap<string, ServiceHealth>
  readonly places: ReadonlyMap<string, ServicePlaces>
}

/** Longest times: the flow table has 15 bits for the seconds of an idle flow. */
const LONGEST_UDP_TIMEOUT = 4 * 3600
const LONGEST_DRAIN = 365 * 86_400

interface Condition {
  readonly keys: readonly (keyof WrittenService)[]
  readonly words: string
  readonly holds: (written: WrittenService) => boolean
}

/** A key that only some forwarding modes read. */
const ofForwarding = (key: ForwardingKey): Condition => ({
  keys: [key],
  words: `forwarding: ${forwardingsThat(({ keys }) => keys.includes(key))}`,
  holds: ({ forwarding }) => FORWARDING_MODES[forwarding].keys.includes(key),
})

/** Keys that only some services have, with the condition. */
const CONDITIONS: readonly Condition[] = [
  ...FORWARDING_KEYS.map(ofForwarding),
  { keys: ['udp_timeout'], words: 'protocol: udp', holds: ({ protocol }) => readProtocols(protocol).includes('udp') },
  { keys: ['sorry'], words: 'fallback: sorry', holds: ({ fallback }) => fallback === 'sorry' },
]

function reportIdleKeys(written: WrittenService, placed: Placed, reading: Reading): void {
  for (const { keys, words, holds } of CONDITIONS) {
    if (holds(written)) continue
    for (const key of keys) {
      if (written[key] === undefined) continue
      const message = `${key} has no effect without ${words}`
      reading.report.error('E049', keyLocation(reading, fieldOf(placed, key)), message, 'remove it')
    }
  }
}

/** A duration in whole seconds. Reports one longer than `longest`. */
function readSeconds(
  text: string | undefined,
  placed: Placed,
  longest: readonly [seconds: number, words: string],
  reading: Reading,
): number | undefined {
  if (text === undefined) return undefined
  const seconds = readDuration(text) / 1000
  if (seconds > longest[0]) reportAt(reading, placed, 'E013', `${quote(text)} is longer than ${longest[1]}`)
  return Math.min(seconds, longest[0])
}

function checkSnat(written: WrittenService, placed: Placed, reading: Reading): void {
  if (!FORWARDING_MODES[written.forwarding].keys.includes('snat')) return
  if (written.snat === true && written.snat_pool === undefined) {
    const hint = 'add the addresses that backends see, for example `snat_pool: [192.0.2.20]`'
    reportAt(reading, fieldOf(placed, 'snat'), 'E047', 'snat needs snat_pool', hint)
  }
  if (written.snat !== true && written.snat_pool !== undefined) {
    const at = keyLocation(reading, fieldOf(placed, 'snat_pool'))
    reading.report.error(
      'E047',
      at,
      'snat_pool has no effect without `snat: true`',
      'add `snat: true`, or remove the key',
    )
  }
}

function readSorry(written: WrittenService, placed: Placed, frame: Frame, reading: Reading): Backend | undefined {
  const { sorry, fallback } = written
  if (fallback !== 'sorry') return undefined
  if (sorry !== undefined) return readBackend(sorry, fieldOf(placed, 'sorry'), frame, reading)
  const hint = 'add a backend of last resort, for example `sorry: { address: 10.0.0.99 }`'
  reportAt(reading, fieldOf(placed, 'fallback'), 'E048', 'fallback: sorry needs the key sorry', hint)
  return undefined
}

const vipHint = (address: string, port: number): string => `write \`vip: ${address}\` and \`port: ${port}\``

/** One service; undefined after an error. */
function readService(name: string, placed: Placed, reading: Reading): ReadService | undefined {
  const written = placed.value as WrittenService
  const { forwarding } = written
  reportIdleKeys(written, placed, reading)
  const vip = readUnicast(written.vip, fieldOf(placed, 'vip'), 'vip', reading, vipHint)
  const ports = readPorts(written.port, fieldOf(placed, 'port'), reading)
  const frame: Frame = { forwarding, vip, ports }
  const backends = readBackends(written, placed, frame, reading)
  const sorry = readSorry(written, placed, frame, reading)
  checkBackups(written, placed, backends, reading)
  const health = readHealth(written, placed, ports, backends, reading)
  const snatPool = readPool(written, placed, reading)
  checkSnat(written, placed, reading)
  const seconds = (key: 'udp_timeout' | 'drain_timeout', longest: readonly [number, string]): number | undefined =>
    readSeconds(written[key], fieldOf(placed, key), longest, reading)
  const udpTimeout = seconds('udp_timeout', [LONGEST_UDP_TIMEOUT, '4h']) ?? UDP_TIMEOUT
  const drainTimeout = seconds('drain_timeout', [LONGEST_DRAIN, '365d'])
  const outerSource = readOuterSource(written, placed, reading)
  if (vip === undefined || ports === undefined) return undefined
  const service: Service = {
    name,
    vip,
    ports,
    protocols: readProtocols(written.protocol),
    forwarding,
    scheduler: written.scheduler ?? 'maglev',
    hash: written.hash ?? 'five_tuple',
    onEmpty: written.on_empty ?? 'drop',
    snatPool,
    repliesFrom: written.replies_from ?? 'route',
    guePort: written.gue_port ?? GUE_PORT,
    outerSource,
    udpTimeout,
    drainTimeout,
    mtu: written.mtu,
    sorry,
    backends: backends.map(({ backend }) => backend),
  }
  const at = new Map(backends.map(({ backend, placed: place }) => [backendKey(backend), place]))
  if (sorry !== undefined) reportSorryTwice(sorry, at, placed, reading)
  if (sorry !== undefined) at.set(backendKey(sorry), fieldOf(placed, 'sorry'))
  return { service, health, placed, reading, backends: at }
}

/** Reports a sorry backend that is also a regular one: it could not replace itself. */
function reportSorryTwice(
  sorry: Backend,
  backends: ReadonlyMap<string, Placed>,
  placed: Placed,
  reading: Reading,
): void {
  const other = backends.get(backendKey(sorry))
  if (other === undefined) return
  const line = reading.source.lineOf(other.from)
  const message = `${backendKey(sorry)} is already a backend of this service, on line ${line}`
  reportAt(reading, fieldOf(placed, 'sorry'), 'E044', message, 'name a different backend, or remove it from `backends`')
}

function placesOf({ placed, reading, backends }: ReadService): ServicePlaces {
  const locate = (place: Placed): Location => locationOf(reading, place)
  return {
    at: keyLocation(reading, placed),
    vip: locate(fieldOf(placed, 'vip')),
    backend: (key) => {
      const place = backends.get(key)
      return place && locate(place)
    },
  }
}

/** Reads a service, or takes it from `known` if an identical text was read before without an error. */
function readOrRecall({ name, placed, source, known }: PlacedService, report: Report): ReadService | undefined {
  if (known?.read) return { ...known.read, reading: { source, report } }
  const heard = nested(report)
  const found = readService(name, placed, { source, report: heard })
  if (found && known && heard.isSilent) {
    // Do not keep the reading: it holds the text of the whole file.
    const { reading: _, ...read } = found
    known.read = read
  }
  return found
}

/** The services of all files, sorted by name. Ignore the result if `report.failed`. */
export function readServices(
  parts: readonly { readonly services: readonly PlacedService[] }[],
  report: Report,
): Services {
  const read = new Map<string, ReadService>()
  const first = new Map<string, string>()
  for (const part of parts) {
    for (const service of part.services) {
      const { name, placed } = service
      const other = first.get(name)
      if (other !== undefined) {
        reportTwice(`service ${name}`, service, placed, other, report)
        continue
      }
      first.set(name, lineOf(service, placed))
      const found = readOrRecall(service, report)
      if (found !== undefined) read.set(name, found)
    }
  }
  reportConflicts([...read.values()], report)
  const sorted = [...read].sort(([left], [right]) => (left < right ? -1 : 1))
  return {
    services: new Map(sorted.map(([name, { service }]) => [name, service])),
    health: new Map(sorted.flatMap(([name, { health }]) => (health ? [[name, health] as const] : []))),
    places: new Map(sorted.map(([name, one]) => [name, placesOf(one)])),
  }
}
