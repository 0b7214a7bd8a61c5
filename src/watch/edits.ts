// Turns readings of the files into valid configs. A file that is empty or ends halfway is most likely being written, so
// an invalid config is reported only if it is still invalid a little later, and each set of errors once.

import type { Loaded } from '../config/load.ts'
import type { XdpError } from '../diagnostics.ts'
import type { WatchEvent } from '../report/watch.ts'
import type { Book } from './book.ts'
import type { ConfigFile } from './files/config-file.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

/** Milliseconds for which an invalid config may be a half-written file. */
const SETTLING = 500

export interface Edits {
  /** Reads the files that changed, all of them with `force`. undefined: nothing changed, or the config is invalid. */
  readonly examine: (force: boolean) => Promise<Loaded | undefined>
  readonly stop: () => void
}

export interface EditsPorts {
  readonly scheduler: Scheduler
  readonly file: Pick<ConfigFile, 'look'>
  readonly book: Pick<Book, 'wrong'>
  readonly emit: (event: WatchEvent) => void
  /** Asks for another `examine`. */
  readonly again: () => void
}

/** Equal for equal errors. */
const textOf = ({ diagnostics }: XdpError): string =>
  diagnostics.map(({ code, message, at }) => `${code} ${at?.file}:${at?.line}:${at?.column} ${message}`).join('\n')

export function followEdits({ scheduler, file, book, emit, again }: EditsPorts): Edits {
  /** The errors of the last look, which may be of a half-written file. */
  let suspected: { readonly error: XdpError; readonly until: number } | undefined
  /** The errors reported last. */
  let reported: string | undefined
  const alarm = createAlarm(scheduler, again)

  const reportBad = (error: XdpError): void => {
    suspected = undefined
    if (reported === textOf(error)) return
    reported = textOf(error)
    const { diagnostics: errors, omitted } = error
    book.wrong('config', errors)
    emit({ event: 'bad-config', errors, omitted })
  }
  const reportGood = (): void => {
    suspected = undefined
    alarm.clear()
    if (reported === undefined) return
    reported = undefined
    book.wrong('config', [])
    emit({ event: 'config-fixed' })
  }
  return {
    stop: alarm.clear,
    async examine(force) {
      const look = await file.look(force)
      switch (look.kind) {
        case 'good':
          reportGood()
          return look.loaded
        case 'bad':
          suspected = { error: look.error, until: scheduler.now() + SETTLING }
          alarm.set(SETTLING)
          return undefined
        case 'same':
          if (suspected && scheduler.now() >= suspected.until) reportBad(suspected.error)
          return undefined
        default:
          return look satisfies never
      }
    },
  }
}
