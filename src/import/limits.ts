// Rates of rules with the packets that they count → rate limits of a config.

import type { AddressSet } from '../model/address.ts'
import { equals } from '../model/ranges.ts'
import { RATE } from '../model/rate-limit.ts'
import { alternatives } from '../model/scope.ts'
import { type Scope, scopeKey } from '../model/state.ts'
import { EVERY, RangeCollector } from './addresses.ts'
import { scopesOf } from './box-scopes.ts'
import { asksHeader, withField } from './boxes.ts'
import type { Lane } from './lanes.ts'
import type { Part } from './parts.ts'
import { countsOpening } from './rates.ts'
import type { Notes, Rule } from './rules.ts'
import { bytesWith, WHOLE } from './scopes.ts'
import { type ImportedLimit, leftOut, type Place, widened } from './source.ts'

const SYNS = bytesWith(['syn', 'ack'], ['syn'])

/** The packets of a part that both a rule and XDP count as one. */
export function countedPart(part: Part, { rule, chain }: { readonly rule: Rule; readonly chain: Lane['chain'] }): Part {
  let { box } = part
  if (box.protocol === 6 && rule.rate && countsOpening(rule.rate, rule.spares === true))
    box = withField(box, 'flags', SYNS)
  const whole = chain.reassembled.includes(part.family)
  const isSplit = box.fields.flags !== undefined || (whole && !asksHeader(box))
  if (isSplit && !chain.ignoresFragments) box = withField(box, 'fragments', [{ first: WHOLE, last: WHOLE }])
  return { ...part, box }
}

const addressesOf = (found: RangeCollector): AddressSet | undefined => {
  const set = found.finish()
  return equals(set.v4, EVERY[4]) && equals(set.v6, EVERY[6]) ? undefined : set
}

export class Limits {
  /** By rule, because the parts of both families share a rate. */
  readonly #found = new Map<string, { readonly rule: Rule; readonly parts: Part[] }>()

  add(rule: Rule, part: Part): void {
    const known = this.#found.get(rule.place.text) ?? { rule, parts: [] }
    known.parts.push(part)
    this.#found.set(rule.place.text, known)
  }

  /** All of them, as far as a config has room. `passing`: a rule that lets packets pass whatever their rate. */
  finish(notes: Notes, passing: (part: Part) => Place | undefined): readonly ImportedLimit[] {
    const all = [...this.#found.values()].flatMap(({ rule, parts }) => this.#limits(rule, parts, notes, passing))
    for (const { place } of all.slice(RATE.limits))
      notes.add(leftOut, { place, text: '' }, `left out because a config has at most ${RATE.limits} rate limits`)
    return all.slice(0, RATE.limits)
  }

  #limits(
    rule: Rule,
    parts: readonly Part[],
    notes: Notes,
    passing: (part: Part) => Place | undefined,
  ): readonly ImportedLimit[] {
    const rate = rule.rate as NonNullable<Rule['rate']>
    const scopes = new Map<string, { readonly scope: Scope; readonly found: RangeCollector }>()
    for (const part of parts) {
      const place = passing(part)
      const why = 'limits no packets that an allowlist lets pass'
      if (place !== undefined) notes.add(widened, rule, `${why}: those of ${place.text}`)
      for (const scope of scopesOf(part.box, part.family)) {
        const known = scopes.get(scopeKey(scope)) ?? { scope, found: new RangeCollector() }
        known.found.addRanges(part.ranges)
        scopes.set(scopeKey(scope), known)
      }
    }
    if (rate.remark !== undefined) notes.add(widened, rule, rate.remark)
    if (scopes.size > 1) notes.add(widened, rule, `becomes ${scopes.size} limits, each with the whole rate`)
    return [...scopes.values()].flatMap(({ scope, found }) => {
      const sources = addressesOf(found)
      if (alternatives(scope) <= RATE.rules)
        return [{ name: rate.name || rule.comment || scopeKey(scope), scope, sources, rate, place: rule.place }]
      notes.add(leftOut, rule, 'left out because a limit has not as many combinations of ports')
      return []
    })
  }
}
