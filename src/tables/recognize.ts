// Recognising an image: one whose lines have the digests that were recorded with them holds what was written, and the
// record of each list says which content that was. So a live list that is already known need be neither read nor
// decoded. This is what makes a plan without changes cheap.

import { ABI_VERSION, LINE_SIZE, listCodec } from '../abi/generated.ts'
import type { List } from '../model/state.ts'
import { policyDigest } from './digest.ts'
import { type DecodedImage, policyOf } from './image.ts'
import type { Header } from './layout.ts'
import { viewOf } from './lines.ts'

/** A list as an image records it. */
export interface ListRecord {
  readonly name: string
  /** As listDigest. */
  readonly digest: bigint
  readonly slot: number
}

/** Gives a list of the name that has the digest; undefined = it is not known. */
export type Recall = (record: ListRecord) => List | undefined

/** The records of the section of lists. */
export function readRecords(lists: Uint32Array, count: number): ListRecord[] {
  const view = viewOf(lists)
  return Array.from({ length: Math.min(count, view.byteLength / LINE_SIZE) }, (_, number) => {
    const { name, digest, slot } = listCodec.decode(view, number * LINE_SIZE)
    return { name, digest, slot }
  })
}

/**
 * What `decodeImage` would say of an image whose header and sections have the digests that are recorded; undefined where
 * a list of it is not known, or the image is none of this ABI.
 *
 * @param lists the section of lists
 */
export function recognizeImage(header: Header, lists: Uint32Array, recall: Recall): DecodedImage | undefined {
  const { settings, meta } = header
  if (settings.abi_version !== ABI_VERSION) return undefined
  const records = readRecords(lists, meta.list_count)
  const found = records.map((record) => [record, recall(record)] as const)
  const known = found.flatMap(([record, list]) => (list ? [[record, list] as const] : []))
  const policy = policyOf(header)
  if (known.length !== meta.list_count || policyDigest(policy) !== meta.policy_digest) return undefined
  return {
    policy,
    lists: new Map(known.map(([{ name }, list]) => [name, list])),
    slots: new Map(known.map(([{ name, slot }]) => [name, slot])),
    meta,
    drifted: [],
  }
}
