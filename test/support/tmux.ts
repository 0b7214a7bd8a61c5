// A terminal to type into and to read: a separate tmux server, with a shell in it.

import { execFileSync } from 'node:child_process'
import { runs } from './programs.ts'

let terminals = 0

export const whyNoTmux = (): string | undefined => (runs('tmux', ['-V']) ? undefined : 'tmux is not installed')

export class Terminal {
  readonly #socket = `xdp-test-${process.pid}-${++terminals}`

  /** 80 by 24, in a directory, with an environment. */
  constructor(cwd: string, env: Readonly<Record<string, string>> = {}) {
    const words = Object.entries({ PS1: '$ ', ENV: '', ...env }).map(([name, value]) => `${name}=${value}`)
    this.#tmux('-f', '/dev/null', 'new-session', '-d', '-x', '80', '-y', '24', '-c', cwd, 'env', ...words, 'sh')
  }

  /** Types a line, then Enter. */
  line(text: string): void {
    this.#tmux('send-keys', '-l', text)
    this.keys('Enter')
  }

  /** Presses keys by their tmux names. */
  keys(...names: readonly string[]): void {
    this.#tmux('send-keys', ...names)
  }

  /** The lines on the screen; `colored` with their control sequences. */
  screen({ colored = false } = {}): string {
    return this.#tmux('capture-pane', '-p', ...(colored ? ['-e'] : []))
  }

  resize(columns: number, rows: number): void {
    this.#tmux('resize-window', '-x', `${columns}`, '-y', `${rows}`)
  }

  /** Whether a program uses the alternate screen. */
  isTaken(): boolean {
    return this.#tmux('display-message', '-p', '#{alternate_on}').trim() === '1'
  }

  close(): void {
    try {
      this.#tmux('kill-server')
    } catch {
      // The shell has ended, and the server with it.
    }
  }

  #tmux(...args: readonly string[]): string {
    return execFileSync('tmux', ['-L', this.#socket, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }
}
