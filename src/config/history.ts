// `history`: how many applies are remembered, and how many bytes they may take.

import { DEFAULT_HISTORY, type HistoryBounds } from '../model/desired.ts'
import type { Part } from './text/part.ts'
import type { Report } from './text/report.ts'
import { wordsOf } from './text/words.ts'
import type { WrittenHistory } from './text/written.ts'

const UNITS = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const
const SIZE = { least: UNITS.MiB, most: 64 * UNITS.GiB, text: 'from 1MiB to 64GiB' } as const

/** `64MiB` in bytes. The schema has refused everything else. */
const readSize = (text: string): number => Number.parseInt(text, 10) * UNITS[text.slice(-3) as keyof typeof UNITS]

/** The bounds of the top file, completed with defaults. */
export function readHistory({ root, source, wrong }: Part, report: Report): HistoryBounds {
  const placed = root.fields?.get('history')
  const written = placed?.value as WrittenHistory | undefined
  if (!written || [...wrong].some((path) => path === 'history' || path.startsWith('history/'))) return DEFAULT_HISTORY
  const { keep = DEFAULT_HISTORY.entries, size } = written
  const bytes = size === undefined ? DEFAULT_HISTORY.bytes : readSize(size)
  if (bytes >= SIZE.least && bytes <= SIZE.most) return { entries: keep, bytes }
  const field = placed?.fields?.get('size')
  const at = field && source.locate(field.from, field.to)
  report.error('E013', at, `size must be ${SIZE.text}, not ${size}`, wordsOf(['history', 'size'])?.hint)
  return DEFAULT_HISTORY
}
