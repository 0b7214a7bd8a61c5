// Limits repeated events: emits equal ones once a minute, with the count of those left out.

import type { WatchEvent, WatchEventName } from '../../report/watch.ts'
import type { Scheduler } from './scheduler.ts'

/** Milliseconds between equal events. */
const PERIOD = 60_000

/** Events whose number depends on other programs. */
const LIMITED: ReadonlySet<WatchEventName> = new Set(['refused', 'failed', 'drift', 'warning', 'trouble'])

/** The event that ends another one; it is emitted only if the other was. */
const ENDS: Readonly<Partial<Record<WatchEventName, WatchEventName>>> = {
  refused: 'recovered',
  failed: 'recovered',
  drift: 'drift-gone',
}

/** An event, and how many equal ones were left out since the last one. */
export type Emitted = WatchEvent & { readonly repeated: number }

/** Equal for equal events. */
const textOf = (event: WatchEvent): string =>
  JSON.stringify(event, (key, value: unknown) => (key === 'retryMs' ? undefined : value))

export function limitRepeats(scheduler: Scheduler, emit: (event: Emitted) => void): (event: WatchEvent) => void {
  const recent = new Map<string, { readonly at: number; left: number }>()
  /** Ends of events that were left out. */
  const muted = new Set<WatchEventName>()
  return (event) => {
    if (!LIMITED.has(event.event)) {
      if (!muted.has(event.event)) emit({ ...event, repeated: 0 })
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
    emit({ ...event, repeated: last?.left ?? 0 })
  }
}
