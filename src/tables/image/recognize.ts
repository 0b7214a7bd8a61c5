// Recognising an image: one whose lines have the digests that were recorded with them holds what was written, and the
// record of each list says which content that was. So a live list that is already known need be neither read nor
// decoded, and a ring need not be made again to say that it is right. This is what makes a plan without changes cheap.

import { ABI_VERSION } from '../../abi/generated.ts'
import type { List } from '../../model/state.ts'
import { type ListRecord, readRecords } from '../classes/lists.ts'
import type { Header, SectionName, Sections } from '../layout/layout.ts'
import { decodeRoles } from '../services/balance.ts'
import { type RecordedServices, readRecordedServices } from '../services/decode.ts'
import { compileServices } from '../services/services.ts'
import { type DecodedImage, hasServices, isPolicyWhole, NO_SERVICES, policyOf } from './image.ts'

/** Gives a list of the name that has the digest; undefined = it is not known. */
export type Recall = (record: ListRecord) => List | undefined

/** Where services are recorded. */
export const SERVICE_SECTIONS = [
  'SERVICES',
  'SERVICE_RECORDS',
  'BACKENDS',
  'POOLS',
] as const satisfies readonly SectionName[]

/** What recognising looks at. */
export const RECOGNIZED = ['LISTS', ...SERVICE_SECTIONS] as const satisfies readonly SectionName[]

/** The services of an image, as they are recorded in it. */
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

/** The section of rings that follows from the others. */
export function ringsFrom(header: Header, sections: Pick<Sections, (typeof RECOGNIZED)[number]>): Uint32Array {
  const recorded = recordedServices(header, sections)
  if (recorded.services.size === 0) return new Uint32Array(0)
  const { rings } = compileServices(recorded.services, recorded)
  return rings.words(0, rings.lines)
}

/**
 * What `decodeImage` would say of an image whose header and sections have the digests that are recorded; undefined where
 * a list of it is not known, or the image is none of this ABI.
 *
 * @param known its services, where they are known to be those that are recorded
 * @throws XdpError E113 where it is damaged all the same
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
  if (lists.length !== meta.list_count || !isPolicyWhole(header)) return undefined
  const { services, slots, leaving, deadlines } = known ?? recordedServices(header, sections)
  return {
    policy: policyOf(header),
    lists: new Map(lists.map(([{ name }, list]) => [name, list])),
    services,
    slots: { ...slots, lists: new Map(lists.map(([{ name, slot }]) => [name, slot])) },
    roles: decodeRoles(header.roles),
    leaving,
    deadlines,
    meta,
    drifted: [],
  }
}
