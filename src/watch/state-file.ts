// The state of the daemon in a file, for `xdp status`.

import type { Watcher } from '../pipelines/watched.ts'
import type { WatchState } from '../report/watch.ts'
import { createQueue } from './time/queue.ts'

/** Writes the state to a file for other processes, one write at a time; skips states that a newer one replaced. */
export function createWriter(watcher: Watcher): {
  readonly write: (state: WatchState) => void
  readonly close: () => Promise<void>
} {
  const queue = createQueue()
  let newest: WatchState | undefined
  return {
    close: queue.close,
    write(state) {
      const isQueued = newest !== undefined
      newest = state
      if (isQueued) return
      queue.add(async () => {
        const written = newest
        newest = undefined
        if (written) await watcher.writeState(written)
      })
    },
  }
}
