// Events of the files of a config, for as long as the daemon runs: directory events, and a poll for the changes that
// make none (network file systems, a replaced parent directory).

import type { WatchEvent } from '../../report/watch.ts'
import { createDebounce } from '../time/debounce.ts'
import { createQueue } from '../time/queue.ts'
import { createAlarm, type Scheduler } from '../time/scheduler.ts'
import type { ConfigFile } from './config-file.ts'
import { watchDirectories } from './directories.ts'
import { placesOf } from './places.ts'

/** Milliseconds between polls. */
const POLL = 10_000

export interface FileEvents {
  /** Call after each load: the config may name other files now. */
  readonly follow: () => void
  readonly stop: () => Promise<void>
}

interface FileEventsPorts {
  readonly scheduler: Scheduler
  readonly file: Pick<ConfigFile, 'reads' | 'hasMoved'>
  /** Milliseconds without an event after which an edit is over. */
  readonly pause: () => number
  /** An event that may begin an edit. */
  readonly onHint: () => void
  readonly onEdit: () => void
  readonly emit: (event: WatchEvent) => void
}

export function listenToFiles({ scheduler, file, pause, onHint, onEdit, emit }: FileEventsPorts): FileEvents {
  const edits = createDebounce(scheduler, pause, onEdit)
  const blind = new Set<string>()
  const directories = watchDirectories({
    onEvent() {
      onHint()
      edits.touch()
    },
    onBlind(directory, why) {
      if (blind.has(directory)) return
      blind.add(directory)
      emit({ event: 'trouble', what: `cannot watch ${directory} (${why}): polling it every ${POLL / 1000} s` })
    },
  })
  const queue = createQueue()
  const follow = (): void =>
    queue.add(async () => {
      await directories.follow(placesOf(file.reads()))
      // Changes before the last watch was in place made no event.
      if (file.hasMoved()) edits.touch()
    })
  const poll = createAlarm(scheduler, () => {
    follow()
    poll.set(POLL)
  })
  poll.set(POLL)
  return {
    follow,
    async stop() {
      poll.clear()
      await queue.close()
      edits.cancel()
      await directories.close()
    },
  }
}
