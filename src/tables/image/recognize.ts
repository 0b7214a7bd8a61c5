// Recognizes an image instead of decoding it. If its lines have the recorded digests, it holds exactly the lines that
// an apply wrote, and the record of each list identifies its content. So a known list need not be read or decoded, and
// no ring need be built to verify it. This keeps a plan without changes cheap.

import { ABI_VERSION } from '../../abi/generated.ts'
import type { List } from '../../model/state.ts'
import { decodeInterfaces } from '../classes/interfaces.ts'
import { type ListRecord, readRecords } from '../classes/lists.ts'
import type { Header, SectionName, Sections } from '../layout/layout.ts'
import { decodeRates } from '../rates/rates.ts'
import { decodeRoles } from '../services/balance.ts'
import { type RecordedServices, readRecordedServices } from '../services/decode.ts'
import { compileServices } from '../services/services.ts'
import { type DecodedImage, hasServices, isPolicyWhole, NO_SERVICES } from './image.ts'
import { policyOf } from './settings.ts'
import { decodeSyn } from './syn.ts'

/** Returns the list with the record's name and digest; undefined = unknown. */
export type Recall = (record: ListRecord) => List | undefined

/** Sections that record the services. */
export const SERVICE_SECTIONS = [
  'SERVICES',
  'SERVICE_RECORDS',
  'BACKENDS',
  'POOLS',
] as const satisfies readonly SectionName[]

/** Sections that recognizing reads. */
export const RECOGNIZED = [
  'LISTS',
  'INTERFACES',
  'SETTINGS',
  ...SERVICE_SECTIONS,
] as const satisfies readonly SectionName[]

/** The services recorded in an image. */
export function recordedServices(
  header: Header,
  { SERVICES, SERVICE_RECORDS, BACKENDS, POOLS }: Pick<Sections, (typeof SERVICE_SECTIONS)[number]>,
): RecordedServices {
  if (!hasServices(header)) return NO_SERVICES
  return readRecordedServices(header.balance, {
    services: SERVICES,
    records: SERVICE_RECORDS,
    backends: BACKENDS,
    pools: POOLS,
  })
}

/** Builds the section of rings from the other sections. */
export function ringsFrom(header: Header, sections: Pick<Sections, (typeof RECOGNIZED)[number]>): Uint32Array {
  const recorded = recordedServices(header, sections)
  if (recorded.services.size === 0) return new Uint32Array(0)
  const { rings } = compileServices(recorded.services, recorded)
  return rings.words(0, rings.lines)
}

/**
 * Returns the result of `decodeImage` for an image whose header and sections have the recorded digests; undefined if
 * one of its lists is unknown, or the image has another ABI version.
 *
 * @param known its services, if they are known to be the recorded ones
 * @throws XdpError E113 if it is damaged nevertheless
 */
export function recognizeImage(
  header: Header,
  sections: Pick<Sections, (typeof RECOGNIZED)[number]>,
  recall: Recall,
  known?: RecordedServices,
): DecodedImage | undefined {
  const { settings, meta } = header
  if (settings.abi_version !== ABI_VERSION) return undefined
  const records = readRecords(sections.LISTS, meta.list_count)
  const found = records.map((record) => [record, recall(record)] as const)
  const lists = found.flatMap(([record, list]) => (list ? [[record, list] as const] : []))
  if (lists.length !== meta.list_count || !isPolicyWhole({ ...header, sections })) return undefined
  const interfaces = decodeInterfaces(sections.INTERFACES)
  const rates = decodeRates(sections.SETTINGS, interfaces.sets)
  const { services, slots, leaving, deadlines } = known ?? recordedServices(header, sections)
  return {
    policy: policyOf({ ...header, sections }),
    lists: new Map(lists.map(([{ name }, list]) => [name, list])),
    services,
    rateLimits: rates.limits,
    slots: { ...slots, lists: new Map(lists.map(([{ name, slot }]) => [name, slot])), rates: rates.slots },
    roles: decodeRoles(header.roles),
    scopedInterfaces: interfaces.slots,
    localPorts: interfaces.localPorts,
    receiveMax: decodeSyn(sections.SETTINGS).receiveMax,
    leaving,
    deadlines,
    meta,
    drifted: rates.drifted.map((name) => `rate_limit:${name}` as const),
    recordedLists: new Map(),
  }
}
