// A terminal taken over for a while: the other screen, no cursor, keys as they are pressed. Given back however the
// command ends. The streams and the process come from cli.ts.

/** What of a terminal's input and output is used; node:tty streams have it. */
export interface TerminalInput {
  readonly isTTY?: boolean
  setRawMode(on: boolean): unknown
  on(event: 'data', listener: (data: Buffer) => void): unknown
  off(event: 'data', listener: (data: Buffer) => void): unknown
  resume(): unknown
  pause(): unknown
}
export interface TerminalOutput {
  readonly columns: number
  readonly rows: number
  write(text: string): unknown
  on(event: 'resize', listener: () => void): unknown
  off(event: 'resize', listener: () => void): unknown
}
export interface JobControl {
  /** Stops this process, as the terminal does on ^Z where keys are not ours. */
  readonly suspend: () => void
  /** Calls back each time the process goes on. */
  readonly onContinue: (listener: () => void) => void
}

export interface Listeners {
  readonly key: (key: string) => void
  /** The screen is to be drawn anew: it has another size, or the process was stopped meanwhile. */
  readonly redraw: () => void
}

export interface Screen {
  /** Takes the terminal over. */
  readonly open: (listeners: Listeners) => void
  readonly size: () => { readonly columns: number; readonly rows: number }
  readonly draw: (lines: readonly string[]) => void
  /** Gives the terminal back, as often as it is called. */
  readonly close: () => void
}

/** xterm control sequences: DECSET 1049 (other screen, cursor saved), DECTCEM (cursor), CUP, EL, ED. */
const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'
const HOME = '\u001b[H'
const CLEAR_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'
const CONTROL_Z = '\u001a'

/** Of a terminal that does not tell (DEC VT100). */
const COLUMNS = 80
const ROWS = 24

/** A screen that nobody has opened yet. */
export function createScreen(
  input: TerminalInput,
  output: TerminalOutput,
  { suspend, onContinue }: JobControl,
): Screen {
  let listeners: Listeners | undefined
  let shown = false
  let continuing = false
  const show = (): void => {
    if (shown || !listeners) return
    shown = true
    if (input.isTTY) input.setRawMode(true)
    output.write(ENTER)
  }
  const hide = (): void => {
    if (!shown) return
    shown = false
    output.write(LEAVE)
    if (input.isTTY) input.setRawMode(false)
  }
  const hear = (data: Buffer): void => {
    // Several keys may come at once; of a function key only ESC and what follows it, which nobody listens to.
    for (const key of data.toString('latin1')) {
      if (key !== CONTROL_Z) listeners?.key(key)
      else if (shown) {
        hide()
        suspend()
      }
    }
  }
  const resized = (): void => listeners?.redraw()
  return {
    open(given) {
      listeners = given
      show()
      output.on('resize', resized)
      if (!continuing) {
        continuing = true
        // However it was stopped, the terminal is the shell's by now.
        onContinue(() => {
          shown = false
          show()
          listeners?.redraw()
        })
      }
      if (!input.isTTY) return
      input.on('data', hear)
      input.resume()
    },
    size: () => ({ columns: output.columns || COLUMNS, rows: output.rows || ROWS }),
    draw(lines) {
      if (shown) output.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')}${CLEAR_BELOW}`)
    },
    close() {
      if (!listeners) return
      hide()
      listeners = undefined
      output.off('resize', resized)
      input.off('data', hear)
      // A terminal that is read from keeps the process alive.
      input.pause()
    },
  }
}
