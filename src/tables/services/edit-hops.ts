// The difference of two images that may be written into a live policy map: next hops of backends, and the digests that
// cover them. Packets meet each line while it changes, so only fields change that the data plane reads as one word, or
// not at all while the backend is unresolved; see bulk.h.

import { type Backend, backendCodec, HEADER_LINES, LINE_SIZE } from '../../abi/generated.ts'
import { compareSections, type LineChange } from '../layout/difference.ts'
import {
  BALANCE_LINE,
  type Directory,
  type Image,
  META_LINE,
  SECTION_NAMES,
  type SectionName,
  type Sections,
} from '../layout/layout.ts'
import { sameDigest } from '../lines/line-digest.ts'
import { isSameLine, LINE_WORDS, viewOf } from '../lines/lines.ts'

/** Sections whose lines may differ: records hold digests of services, which cover the lines of their backends. */
const MAY_DIFFER: readonly SectionName[] = ['SERVICE_RECORDS', 'BACKENDS']

/** The fields that a line has only while its backend is resolved. */
const HOP_FIELDS: readonly (keyof Backend)[] = ['mac', 'source_mac', 'vlan', 'mtu', 'ifindex', 'interface']

const differing = (left: Backend, right: Backend): (keyof Backend)[] =>
  (Object.keys(left) as (keyof Backend)[]).filter((field) => `${left[field]}` !== `${right[field]}`)

/** Whether a backend may change so under traffic: to another MAC address, from unresolved to resolved, or back. */
function isOneStore(left: Backend, right: Backend): boolean {
  const fields = differing(left, right)
  const isResolving = left.ifindex === 0 || right.ifindex === 0
  return fields.every((field) => (isResolving ? HOP_FIELDS.includes(field) : field === 'mac'))
}

/** The lines of a section that differ; undefined if one may not change under traffic. */
function changedLines(name: SectionName, words: Uint32Array, old: Uint32Array): number[] | undefined {
  const changed: number[] = []
  compareSections(words, old, (line, end, same) => {
    if (!same) for (let one = line; one < end; one++) changed.push(one)
  })
  if (name !== 'BACKENDS') return changed
  const [view, oldView] = [viewOf(words), viewOf(old)]
  const backend = (from: DataView, line: number): Backend => backendCodec.decode(from, line * LINE_SIZE)
  return changed.every((line) => isOneStore(backend(oldView, line), backend(view, line))) ? changed : undefined
}

/** Lines of the header that describe neither the commit nor the digests. */
const isFixed = (line: number): boolean => line < META_LINE || line >= BALANCE_LINE

/** The known parts of a live image. */
export interface LiveImage {
  readonly header: Uint32Array
  readonly directory: Directory
  readonly sections: Partial<Sections>
}

/** The lines of the header that differ, without that of the commit; undefined if one describes other tables. */
function changedHeader(image: Image, old: LiveImage): number[] | undefined {
  const lines = Array.from({ length: HEADER_LINES }, (_, line) => line)
  const changed = lines.filter((line) => line !== META_LINE && !isSameLine(image.header, old.header, line))
  const isSamePlan = SECTION_NAMES.every((name) => {
    const [place, before] = [image.directory[name], old.directory[name]]
    return place.first === before.first && place.lines === before.lines
  })
  return isSamePlan && !changed.some(isFixed) ? changed : undefined
}

const lineOf = (words: Uint32Array, line: number): Uint32Array =>
  words.subarray(line * LINE_WORDS, (line + 1) * LINE_WORDS)

/**
 * The lines in which an image differs from the live one, ascending. undefined if the live map must not be changed into it,
 * because packets would meet a mixture of both. Both are of one generation.
 */
export function rewriteOf(image: Image, old: LiveImage): readonly LineChange[] | undefined {
  const header = changedHeader(image, old)
  if (header === undefined) return undefined
  const lines = header.map((line) => ({ line, before: lineOf(old.header, line), after: lineOf(image.header, line) }))
  for (const name of SECTION_NAMES) {
    const { first, digest } = image.directory[name]
    if (sameDigest(digest, old.directory[name].digest)) continue
    const before = MAY_DIFFER.includes(name) ? old.sections[name] : undefined
    const after = before && image.sections[name]
    const changed = after && changedLines(name, after, before)
    if (!changed) return undefined
    for (const line of changed)
      lines.push({ line: first + line, before: lineOf(before, line), after: lineOf(after, line) })
  }
  return lines
}
