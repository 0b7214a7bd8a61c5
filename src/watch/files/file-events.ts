// Events of the files of a config, for as long as the daemon runs: those of their directories, and a look now and then
// at what gives none (network file systems, a directory above that was replaced).

import type { WatchEvent } from '../../report/watch.ts'
import { createDebounce } from '../time/debounce.ts'
import { createQueue } from '../time/queue.ts'
import { createAlarm, type Scheduler } from '../time/scheduler.ts'
import type { ConfigFile } from './config-file.ts'
import { watchDirectories } from './directories.ts'
import { placesOf } from './places.ts'

/** How often files are looked at whose file system tells nothing, in milliseconds. */
const POLL = 10_000

export interface FileEvents {
  /** The files were read, and may be other ones by now. */
  readonly follow: () => void
  readonly stop: () => Promise<void>
}

interface FileEventsPorts {
  readonly scheduler: Scheduler
  readonly file: Pick<ConfigFile, 'reads' | 'hasMoved'>
  /** Milliseconds without an event after which an edit is over. */
  readonly pause: () => number
  /** Something happened, and may be an edit. */
  readonly onHint: () => void
  readonly onEdit: () => void
  readonly tell: (event: WatchEvent) => void
}

export function listenToFiles({ scheduler, file, pause, onHint, onEdit, tell }: FileEventsPorts): FileEvents {
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
      tell({ event: 'trouble', what: `${directory} gives no events (${why}): looked at every ${POLL / 1000} s` })
    },
  })
  const queue = createQueue()
  const follow = (): void =>
    queue.add(async () => {
      await directories.follow(placesOf(file.reads()))
      // What happened before the last directory was listened to was not heard.
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
