// What netlink tells of while it happens, from `ip monitor`. Hints only: events may be lost, so nobody may rely on
// having heard of everything.

import { execa } from 'execa'
import { stderrWords, toolEnvironment } from './spawn.ts'

/** `ip monitor OBJECT`, and the label that it puts before each line about one (iproute2 has no JSON here). */
const LABELS = { link: 'LINK', address: 'ADDR', route: 'ROUTE', neighbour: 'NEIGH' } as const
export type KernelEvent = keyof typeof LABELS

const OBJECTS: Readonly<Record<KernelEvent, string>> = {
  link: 'link',
  address: 'address',
  route: 'route',
  neighbour: 'neigh',
}

/** The longest piece of a line that says what it is about. */
const LONGEST_LABEL = 16

export interface Monitor {
  /** Settles when it has ended, with its last words: stopped, or by itself. */
  readonly ended: Promise<string>
  readonly stop: () => void
}

/** Which of `kinds` the lines of a piece of output are about. `rest` is the beginning of a line that is not over yet. */
export function kindsOf(text: string, kinds: readonly KernelEvent[]): { kinds: Set<KernelEvent>; rest: string } {
  const lines = text.split('\n')
  const rest = lines.pop() ?? ''
  const found = kinds.filter((kind) => lines.some((line) => line.startsWith(`[${LABELS[kind]}]`)))
  return { kinds: new Set(found), rest: rest.slice(0, LONGEST_LABEL) }
}

/**
 * Starts to listen to events of these kinds in the network namespace of this process. It ends with this process,
 * however that ends, because a process that stays would keep the namespace.
 */
export function monitorKernel(
  kinds: readonly KernelEvent[],
  onEvents: (kinds: ReadonlySet<KernelEvent>) => void,
): Monitor {
  const words = ['-o', 'monitor', 'label', ...kinds.map((kind) => OBJECTS[kind])]
  const child = execa('setpriv', ['--pdeathsig', 'KILL', 'ip', ...words], {
    env: toolEnvironment(),
    stdin: 'ignore',
    reject: false,
    detached: true,
    buffer: { stdout: false },
    encoding: 'utf8',
  })
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const read = kindsOf(rest + text, kinds)
    rest = read.rest
    if (read.kinds.size > 0) onEvents(read.kinds)
  })
  return {
    ended: child.then(({ stderr, shortMessage }) => stderrWords(stderr) || (shortMessage ?? 'it ended')),
    stop: () => void child.kill('SIGKILL'),
  }
}
