// Sets of numbers as sorted, disjoint, non-adjacent ranges.

import type { PortRange } from '../model/ports.ts'
import { canonicalPorts } from '../model/scope.ts'

export type Spans = readonly PortRange[]

/** The numbers of `spans` in canonical form. */
export const spansOf = (spans: Spans): Spans => canonicalPorts(spans)

/** The numbers in both. */
export const commonSpans = (left: Spans, right: Spans): Spans =>
  left.flatMap((a) =>
    right
      .map((b) => ({ first: Math.max(a.first, b.first), last: Math.min(a.last, b.last) }))
      .filter(({ first, last }) => first <= last),
  )

/** The numbers of `bounds` outside the ranges. */
export function otherSpans(spans: Spans, { first, last }: PortRange): Spans {
  const rest: PortRange[] = []
  let next = first
  for (const span of canonicalPorts(spans)) {
    if (span.first > next) rest.push({ first: next, last: Math.min(span.first - 1, last) })
    next = Math.max(next, span.last + 1)
  }
  if (next <= last) rest.push({ first: next, last })
  return rest
}

/** Whether `outer` has every number of `inner`. */
export const holdsSpans = (outer: Spans, inner: Spans): boolean =>
  inner.every((one) => outer.some(({ first, last }) => first <= one.first && one.last <= last))

export const isWhole = (spans: Spans, { first, last }: PortRange): boolean =>
  spans.length === 1 && spans[0]?.first === first && spans[0].last === last
