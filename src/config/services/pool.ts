// Source pools of full NAT, and source prefixes of encapsulated packets.

import type { Address } from '../../model/address.ts'
import { POOL_SLOTS } from '../../model/limits.ts'
import { DEFAULT_OUTER_SOURCE, type OuterSource } from '../../model/service.ts'
import { compareAddresses, formatAddress, parsePrefix, parseRange, wordsOf } from '../../model/text.ts'
import { explainRange } from '../entries/range.ts'
import { type Reading, reportAt } from '../text/place.ts'
import { quote } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenService } from './written-services.ts'

/** The addresses of a range, at most one more than the pool can hold. */
function* addressesOf(start: Uint32Array, end: Uint32Array): Generator<Uint32Array> {
  let words = start.slice()
  for (let count = 0; count <= POOL_SLOTS; count++) {
    yield words
    if (compareAddresses(words, end) === 0) return
    words = words.slice()
    for (let word = words.length - 1; word >= 0; word--) {
      words[word] = (words[word] as number) + 1
      if (words[word] !== 0) break
    }
  }
}

/** The addresses of `snat_pool`, sorted and distinct, at most one more than the pool can hold. */
export function readPool(written: WrittenService, placed: Placed, reading: Reading): readonly Address[] {
  const found = new Map<string, Address>()
  const items = placed.fields?.get('snat_pool')?.items ?? []
  for (const [index, text] of (written.snat_pool ?? []).entries()) {
    const range = parseRange(text)
    const at = items[index] ?? placed
    if (range === undefined) {
      const { code, message, hint } = explainRange(text)
      reportAt(reading, at, code, message, hint)
      continue
    }
    for (const words of addressesOf(range.start, range.end)) {
      if (found.size > POOL_SLOTS) break
      found.set(formatAddress(range.family, words), { family: range.family, words })
    }
  }
  return [...found.values()].sort(
    (left, right) => left.family - right.family || compareAddresses(left.words, right.words),
  )
}

/** A prefix of the given family with `least` to `most` bits; undefined after an error. */
function readPrefix(
  text: string,
  placed: Placed,
  wanted: { readonly family: 4 | 6; readonly least: number; readonly most: number },
  reading: Reading,
): { readonly address: Address; readonly length: number } | undefined {
  const prefix = parsePrefix(text)
  const { family, least, most } = wanted
  const lengths = least === most ? `${least} bits` : `${least} to ${most} bits`
  if (prefix === undefined && parseRange(text) === undefined) {
    const { code, message, hint } = explainRange(text)
    reportAt(reading, placed, code, message, hint)
    return undefined
  }
  if (prefix === undefined || prefix.family !== family || prefix.length < least || prefix.length > most) {
    reportAt(reading, placed, 'E020', `${quote(text)} is not an IPv${family} prefix of ${lengths}`)
    return undefined
  }
  return { address: { family, words: prefix.start.slice(0, wordsOf(family)) }, length: prefix.length }
}

/** Source prefixes of encapsulated packets. */
export function readOuterSource(written: WrittenService, placed: Placed, reading: Reading): OuterSource {
  const { v4, v6 } = written.outer_source ?? {}
  const at = placed.fields?.get('outer_source') ?? placed
  const field = (key: string): Placed => at.fields?.get(key) ?? at
  const own4 = v4 === undefined ? undefined : readPrefix(v4, field('v4'), { family: 4, least: 8, most: 32 }, reading)
  const own6 = v6 === undefined ? undefined : readPrefix(v6, field('v6'), { family: 6, least: 64, most: 64 }, reading)
  return { v4: own4 ?? DEFAULT_OUTER_SOURCE.v4, v6: own6?.address ?? DEFAULT_OUTER_SOURCE.v6 }
}
