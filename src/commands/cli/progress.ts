// One line on a terminal that tells what is being done, for whatever takes longer than half a second.

export interface Progress {
  /** A stage begins. */
  readonly report: (stage: string) => void
  /** Takes the line away, because something else is to be written or all is done. */
  readonly clear: () => void
}

const SILENT: Progress = { report: () => {}, clear: () => {} }

/** CSI K: erase to the end of the line. */
const ERASE = '\r\u001b[K'

/** `write` goes to a terminal; where there is none (`enabled` false) nothing is ever written. */
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
      // The process must not stay alive for a line that nobody needs any more.
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
