// `protect`: sources that no change of the policy may cut off.

import { WRITTEN_PROTOCOLS } from '../../model/ports.ts'
import type { ProtectedPrefix } from '../../model/protect.ts'
import { wordsOf } from '../../model/text.ts'
import { explainRange, rangeBuffer, readRangeText } from '../entries/range.ts'
import { lineOf, type Part } from '../text/part.ts'
import type { Report } from '../text/report.ts'
import type { WrittenProtected } from '../text/written.ts'

/** The protected prefixes of the top file, in the order of the file. Reports invalid addresses. */
export function readProtect(top: Part, report: Report): ProtectedPrefix[] {
  const { root, source, wrong } = top
  const items = root.fields?.get('protect')?.items ?? []
  return items.flatMap((placed, index): ProtectedPrefix[] => {
    if (wrong.has(`protect/${index}`)) return []
    const { value } = placed
    const written = typeof value === 'string' ? { cidr: value } : (value as WrittenProtected)
    const range = rangeBuffer()
    if (!readRangeText(written.cidr, range)) {
      const { code, message, hint } = explainRange(written.cidr)
      const { from, to } = placed.fields?.get('cidr') ?? placed
      report.error(code, source.locate(from, to), message, hint)
      return []
    }
    const width = wordsOf(range.family)
    const { protocol, port }: Partial<WrittenProtected> = written
    const prefix = { family: range.family, start: range.start.slice(0, width), end: range.end.slice(0, width) }
    return [
      {
        prefix,
        protocol: typeof protocol === 'string' ? WRITTEN_PROTOCOLS[protocol] : protocol,
        port,
        at: lineOf(top, placed),
      },
    ]
  })
}
