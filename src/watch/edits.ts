// From looks at the files to configs that may be used. A file that was just emptied or cut in two is most likely being
// written, so what is wrong with a config is told only when it is still wrong a little later, and told once.

import type { Loaded } from '../config/load.ts'
import type { XdpError } from '../diagnostics.ts'
import type { WatchEvent } from '../report/watch.ts'
import type { Book } from './book.ts'
import type { ConfigFile } from './files/config-file.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

/** How long a config that cannot be used may be one that is not written to its end yet, in milliseconds. */
const SETTLING = 500

export interface Edits {
  /** Looks at the files, `anew` at all of them. A config that can be used, unless it is the one of the last time. */
  readonly examine: (anew: boolean) => Promise<Loaded | undefined>
  readonly stop: () => void
}

export interface EditsPorts {
  readonly scheduler: Scheduler
  readonly file: Pick<ConfigFile, 'look'>
  readonly book: Pick<Book, 'wrong'>
  readonly tell: (event: WatchEvent) => void
  /** Asks for another `examine`. */
  readonly again: () => void
}

/** The same text for the same mistakes. */
const textOf = ({ diagnostics }: XdpError): string =>
  diagnostics.map(({ code, message, at }) => `${code} ${at?.file}:${at?.line}:${at?.column} ${message}`).join('\n')

export function followEdits({ scheduler, file, book, tell, again }: EditsPorts): Edits {
  /** Wrong at the last look, and maybe only half written. */
  let doubted: { readonly error: XdpError; readonly until: number } | undefined
  /** What was told to be wrong. */
  let told: string | undefined
  const alarm = createAlarm(scheduler, again)

  const convict = (error: XdpError): void => {
    doubted = undefined
    if (told === textOf(error)) return
    told = textOf(error)
    const { diagnostics: errors, omitted } = error
    book.wrong('config', errors)
    tell({ event: 'bad-config', errors, omitted })
  }
  const acquit = (): void => {
    doubted = undefined
    alarm.clear()
    if (told === undefined) return
    told = undefined
    book.wrong('config', [])
    tell({ event: 'config-fixed' })
  }
  return {
    stop: alarm.clear,
    async examine(anew) {
      const look = await file.look(anew)
      switch (look.kind) {
        case 'good':
          acquit()
          return look.loaded
        case 'bad':
          doubted = { error: look.error, until: scheduler.now() + SETTLING }
          alarm.set(SETTLING)
          return undefined
        case 'same':
          if (doubted && scheduler.now() >= doubted.until) convict(doubted.error)
          return undefined
        default:
          return look satisfies never
      }
    },
  }
}
