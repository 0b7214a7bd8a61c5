// The records of the last apply, as far as drift (live against last apply) differs by them from edits (config
// against last apply).

import type { AppliedRecords, ObjectKey } from '../../model/live.ts'
import { type Attachment, EVERY_ROLE, type State } from '../../model/state.ts'
import type { DecodedImage } from '../../tables/image/image.ts'
import { listDigest, policyDigest } from '../../tables/lines/digest.ts'
import { modeOf } from './records.ts'

/** The record of an attachment. */
interface SlotRecord {
  readonly name: string
  readonly slot: number
  readonly mode: number
}

function attachmentsOf(
  records: ReadonlyMap<string, SlotRecord>,
  image: DecodedImage | undefined,
): ReadonlyMap<string, Attachment> {
  const found = [...records.values()].flatMap(({ name, slot, mode: number }) => {
    const mode = modeOf(number)
    const roles = image?.roles[slot] ?? EVERY_ROLE
    return mode === undefined ? [] : [[name, { interface: name, modes: [mode], roles }] as const]
  })
  return new Map(found)
}

/** Whether the state has another policy or lists than the last apply had, for those that drifted. */
function editedOf(
  { lists, policy }: State,
  { recordedLists, meta }: DecodedImage,
  drift: ReadonlyMap<ObjectKey, string>,
): ReadonlyMap<ObjectKey, boolean> {
  const edited = new Map<ObjectKey, boolean>()
  for (const [name, digest] of recordedLists) {
    const list = lists.get(name)
    edited.set(`list:${name}`, list === undefined || listDigest(list) !== digest)
  }
  if (policy && drift.has('policy')) edited.set('policy', policyDigest(policy) !== meta.policy_digest)
  return edited
}

/** @param state the state that the caller plans for; undefined: only attachments are of interest */
export const appliedRecords = (
  records: ReadonlyMap<string, SlotRecord>,
  image: DecodedImage | undefined,
  state: State | undefined,
  drift: ReadonlyMap<ObjectKey, string>,
): AppliedRecords => ({
  interfaces: attachmentsOf(records, image),
  edited: image && state ? editedOf(state, image, drift) : new Map(),
})
