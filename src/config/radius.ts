// `limits.max_removed`, `max_blocked` and `widest`: how far an apply may reach.

import { type Amount, type Placed as Limit, NO_RADIUS, type Radius } from '../model/radius.ts'
import { readShare } from './text/duration.ts'
import type { Part } from './text/part.ts'
import type { WrittenLimits } from './text/written.ts'

const readAmount = (written: number | string): Amount =>
  typeof written === 'number' ? { count: written } : { share: readShare(written) }

/** The limits of the top file. */
export function readRadius({ root, source, wrong }: Part): Radius {
  const placed = root.fields?.get('limits')
  const isWrong = [...wrong].some((path) => path === 'limits' || path.startsWith('limits/'))
  if (placed === undefined || isWrong) return NO_RADIUS
  const { max_removed, max_blocked, widest } = placed.value as WrittenLimits
  const limit = <W, T>(
    key: keyof WrittenLimits,
    written: W | undefined,
    read: (written: W) => T,
  ): Limit<T> | undefined => {
    const at = placed.fields?.get(key)
    if (written === undefined || at === undefined) return undefined
    return { value: read(written), at: source.locate(at.from, at.to) }
  }
  return {
    maxRemoved: limit('max_removed', max_removed, readAmount),
    maxBlocked: limit('max_blocked', max_blocked, readShare),
    // A family without a number has no limit.
    widest: limit('widest', widest, ({ v4 = 0, v6 = 0 }) => ({ v4, v6 })),
  }
}
