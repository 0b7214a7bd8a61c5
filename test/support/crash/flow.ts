// Packets that flow all the time: each round has one from every source, and says which of them arrived. So it says which
// policy judged the round.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import type { Lab } from '../hosts.ts'
import { compiled } from '../programs.ts'

/** Sources of the flow: every policy passes the first and drops the second; `old` drops the third, `new` the fourth. */
export const SOURCES = { passed: '192.0.2.4', dropped: '192.0.2.5', old: '192.0.2.2', new: '192.0.2.3' } as const
const TARGET = '192.0.2.1'

/** The policy that judged a round. `none`: everything passed; `banned`: `new` is banned under the old policy. */
export type Verdict = 'old' | 'new' | 'none' | 'banned' | 'unsent' | 'mixed'

const VERDICTS: Readonly<Record<string, Verdict>> = { 9: 'old', 5: 'new', 15: 'none', 1: 'banned', x: 'unsent' }

/** Rounds in a row with the same verdict. */
export interface Stretch {
  readonly verdict: Verdict
  readonly rounds: number
  /** Which sources' packets arrived, one bit each. */
  readonly arrived: string
}

export class Flow {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(child: ChildProcess, lines: Interface) {
    this.#child = child
    this.#lines = lines[Symbol.asyncIterator]()
  }

  static async open(lab: Lab): Promise<Flow> {
    const program = compiled('crash/flow.c')
    const words = [`/run/netns/${lab.host}`, `/run/netns/${lab.peer}`, TARGET, ...Object.values(SOURCES)]
    const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] })
    const flow = new Flow(child, createInterface({ input: child.stdout }))
    await flow.#lines.next()
    return flow
  }

  /** The rounds since the last call, once all their packets have arrived or are lost. */
  async rounds(): Promise<Stretch[]> {
    this.#child.stdin?.write('\n')
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the flow of packets has ended')
    return (value as string)
      .trim()
      .split(' ')
      .map((one) => {
        const [arrived = '', rounds] = one.split(':')
        return { verdict: VERDICTS[arrived] ?? 'mixed', rounds: Number(rounds), arrived }
      })
  }

  async close(): Promise<void> {
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await closed
  }
}
