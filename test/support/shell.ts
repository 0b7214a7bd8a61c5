// An interactive shell on a pseudo-terminal, with keys typed as by a person.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'

/** ESC * of readline inserts all possible completions; the shells' start files bind it if the shell does not. */
export const ALL = '\u001b*'
export const TAB = '\t'

/** The `xdp` of the start files prints its arguments, so that a completed line reveals its words. */
export const STUB = 'xdp() { printf "WORDS[%s]\\n" "$*"; }'

interface Surroundings {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Arguments that run the words behind them in another environment. */
  readonly within?: readonly string[]
}

export class Shell {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #ended: Promise<'ended'>
  #shown = ''

  /** `line` starts the shell, for sh. Its start file must define STUB and a prompt that contains READY. */
  constructor(line: string, { cwd, env, within = [] }: Surroundings) {
    const [file = '', ...args] = [...within, 'script', '--quiet', '--command', line, '/dev/null']
    this.#child = spawn(file, args, {
      ...(cwd ? { cwd } : {}),
      env: { PATH: process.env['PATH'], TERM: 'dumb', LC_ALL: 'C.UTF-8', ...env },
      stdio: 'pipe',
    })
    this.#ended = once(this.#child, 'close').then(() => 'ended')
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#shown += text
      })
    }
  }

  /** Waits for output that matches, and consumes it; returns its groups. */
  async #until(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#shown)
      if (match) {
        this.#shown = this.#shown.slice(match.index + match[0].length)
        return match
      }
      if ((await Promise.race([once(this.#child.stdout, 'data'), this.#ended])) === 'ended')
        throw new Error(`the shell has ended; it showed:\n${this.#shown}`)
    }
  }

  async ready(): Promise<this> {
    await this.#until(/READY/)
    return this
  }

  /** Types a line with its keys and returns the words that the shell called `xdp` with. */
  async words(keys: string): Promise<string> {
    this.#child.stdin.write(`${keys}\n`)
    const [, words = ''] = await this.#until(/WORDS\[(.*)\]/)
    await this.#until(/READY/)
    return words
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}
