// Full-screen mode of a terminal: alternate screen, no cursor, raw keys. Restores the terminal however the command
// ends. The streams and the process come from cli.ts.

/** The parts of node:tty streams in use. */
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
  /** Stops this process, as the terminal itself does on ^Z outside raw mode. */
  readonly suspend: () => void
  /** Calls the listener each time the process continues. */
  readonly onContinue: (listener: () => void) => void
}

export interface Listeners {
  readonly key: (key: string) => void
  /** The screen must be drawn again: its size changed, or the process continues after a stop. */
  readonly redraw: () => void
}

export interface Screen {
  /** Enters full-screen mode. */
  readonly open: (listeners: Listeners) => void
  readonly size: () => { readonly columns: number; readonly rows: number }
  readonly draw: (lines: readonly string[]) => void
  /** Restores the terminal; may be called repeatedly. */
  readonly close: () => void
}

/** xterm control sequences: DECSET 1049 (alternate screen, cursor saved), DECTCEM (cursor), CUP, EL, ED. */
const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'
const HOME = '\u001b[H'
const CLEAR_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'
const CONTROL_Z = '\u001a'

/** The size of a DEC VT100, for terminals that report none. */
const COLUMNS = 80
const ROWS = 24

/** Makes a screen; it does nothing until it is opened. */
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
  const onData = (data: Buffer): void => {
    // One chunk may hold several keys. A function key arrives as ESC and more characters, which no listener uses.
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
        // During the stop the shell had the terminal and left full-screen mode.
        onContinue(() => {
          shown = false
          show()
          listeners?.redraw()
        })
      }
      if (!input.isTTY) return
      input.on('data', onData)
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
      input.off('data', onData)
      // Reading from a terminal keeps the process alive.
      input.pause()
    },
  }
}
