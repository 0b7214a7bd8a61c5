// What is told again and again is told once a minute, with how often it was.

import type { WatchEvent, WatchEventName } from '../../report/watch.ts'
import type { Scheduler } from './scheduler.ts'

/** In milliseconds. */
const PERIOD = 60_000

/** What comes from elsewhere, in any number. */
const LIMITED: ReadonlySet<WatchEventName> = new Set(['refused', 'failed', 'drift', 'warning', 'trouble'])

/** What is over with another event, which is told where this one was. */
const ENDS: Readonly<Partial<Record<WatchEventName, WatchEventName>>> = {
  refused: 'recovered',
  failed: 'recovered',
  drift: 'drift-gone',
}

/** An event, and how many like it were left out since the last one that was told. */
export type Told = WatchEvent & { readonly repeated: number }

/** The same text for events that say the same. */
const textOf = (event: WatchEvent): string =>
  JSON.stringify(event, (key, value: unknown) => (key === 'retryMs' ? undefined : value))

export function limitRepeats(scheduler: Scheduler, tell: (event: Told) => void): (event: WatchEvent) => void {
  const recent = new Map<string, { readonly at: number; left: number }>()
  /** Ends of what was left out. */
  const muted = new Set<WatchEventName>()
  return (event) => {
    if (!LIMITED.has(event.event)) {
      if (!muted.has(event.event)) tell({ ...event, repeated: 0 })
      return
    }
    const end = ENDS[event.event]
    const now = scheduler.now()
    const text = textOf(event)
    const last = recent.get(text)
    if (last && now - last.at < PERIOD) {
      last.left++
      if (end) muted.add(end)
      return
    }
    for (const [other, { at }] of recent) if (now - at >= PERIOD && other !== text) recent.delete(other)
    recent.set(text, { at: now, left: 0 })
    if (end) muted.delete(end)
    tell({ ...event, repeated: last?.left ?? 0 })
  }
}
