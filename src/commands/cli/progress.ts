// A progress line on the terminal for stages that take longer than half a second.

export interface Progress {
  /** Starts a stage. */
  readonly report: (stage: string) => void
  /** Erases the line, before other output and at the end. */
  readonly clear: () => void
}

const SILENT: Progress = { report: () => {}, clear: () => {} }

/** CSI K: erase to the end of the line. */
const ERASE = '\r\u001b[K'

/** `write` goes to a terminal. Writes nothing unless `enabled`. */
export function createProgress(write: (text: string) => void, enabled: boolean, delayMs = 500): Progress {
  if (!enabled) return SILENT
  let stage = ''
  let shown = false
  let timer: NodeJS.Timeout | undefined
  const draw = (): void => {
    write(`${ERASE}${stage} ...`)
    shown = true
  }
  return {
    report(next) {
      stage = next
      if (shown) draw()
      // The timer must not keep the process alive.
      else timer ??= setTimeout(draw, delayMs).unref()
    },
    clear() {
      clearTimeout(timer)
      timer = undefined
      if (shown) write(ERASE)
      shown = false
    },
  }
}
