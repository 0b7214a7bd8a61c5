// A daemon that a test runs and follows by its events. Nothing here waits for a fixed time: tests await events, and a
// test whose event does not come fails with the output so far.

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { WatchEventName } from '../../src/report/watch.ts'
import type { Lab } from './hosts.ts'

/** A line of the daemon's output. */
export interface Line {
  readonly event: WatchEventName
  readonly message: string
  readonly sha256?: string
  readonly trigger?: string
  readonly action?: string
  readonly warnings?: readonly { readonly code: string; readonly message: string }[]
  readonly service?: string
  readonly backend?: string
  readonly mode?: string
  readonly reason?: string | null
  readonly why?: string
  readonly changes?: readonly { readonly op: string; readonly key: string }[]
  readonly errors?: readonly { readonly code: string; readonly at: { readonly file: string; readonly line: number } }[]
}

/** Longer than any event takes, even on a busy machine. */
const PATIENCE_MS = 60_000

export class Watching {
  readonly lines: Line[] = []
  readonly #child: ChildProcess
  readonly #exit: Promise<number | null>
  #stderr = ''
  #read = 0
  #wake: () => void = () => undefined

  constructor(lab: Lab, ...args: readonly string[]) {
    this.#child = lab.start('watch', ...args)
    this.#exit = once(this.#child, 'close').then(([code]) => code as number | null)
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line)
      this.#wake()
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    void this.#exit.then(() => this.#wake())
  }

  /** Starts a daemon and waits until the policy of its config is in force. */
  static async ready(lab: Lab, ...args: readonly string[]): Promise<Watching> {
    const watching = new Watching(lab, ...args)
    await watching.hear('ready')
    return watching
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** The next event of this name that was not consumed yet and that `matches`. */
  async hear(event: WatchEventName, matches: (line: Line) => boolean = () => true): Promise<Line> {
    const deadline = setTimeout(() => this.#wake(), PATIENCE_MS)
    const end = performance.now() + PATIENCE_MS
    try {
      for (;;) {
        for (; this.#read < this.lines.length; this.#read++) {
          const line = this.lines[this.#read] as Line
          if (line.event !== event || !matches(line)) continue
          this.#read++
          return line
        }
        if (this.#child.exitCode !== null || performance.now() >= end) throw new Error(this.#account(event))
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    } finally {
      clearTimeout(deadline)
    }
  }

  /** Number of events of a name so far. */
  count(event: WatchEventName): number {
    return this.lines.filter((line) => line.event === event).length
  }

  /** Number of the daemon's open files. */
  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  /** Its resident memory in bytes. */
  memory(): number {
    const [, kibibytes = '0'] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8')) ?? []
    return Number(kibibytes) * 1024
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Its exit status, once it has ended; null if a signal ended it. */
  async end(name: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.signal(name)
    return this.#exit
  }

  #account(event: WatchEventName): string {
    const events = this.lines.map(({ event: name, message }) => `${name}: ${message}`).join('\n')
    return `no ${event} of the daemon; its events:\n${events}\n${this.#stderr}`
  }
}
