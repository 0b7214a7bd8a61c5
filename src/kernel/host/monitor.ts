// What netlink tells of while it happens, from `ip monitor`. Hints only: events may be lost, so nobody may rely on
// having heard of everything.

import { execa } from 'execa'
import { stderrWords, toolEnvironment } from '../tools/spawn.ts'

/** `ip monitor OBJECT`, and the label that it puts before each line about one (iproute2 has no JSON here). */
const LABELS = {
  link: 'LINK',
  address: 'ADDR',
  route: 'ROUTE',
  rule: 'RULE',
  nexthop: 'NEXTHOP',
  neighbour: 'NEIGH',
} as const
export type MonitorObject = keyof typeof LABELS
/** `device`: an interface is other than it was last told to be, its XDP program apart. */
export type KernelEvent = MonitorObject | 'device'

const OBJECTS: Readonly<Record<MonitorObject, string>> = {
  link: 'link',
  address: 'address',
  route: 'route',
  rule: 'rule',
  nexthop: 'nexthop',
  neighbour: 'neigh',
}

/** The longest piece of a line that says what it is about. */
const LONGEST_LABEL = 16

export interface Monitor {
  /** Settles when it has ended, with its last words: stopped, or by itself. */
  readonly ended: Promise<string>
  readonly stop: () => void
}

const LINK = /^\[LINK\](Deleted )?(\d+):/
/** What a line about an interface says of its program, and why it was sent. */
const PROGRAM = /(?<= mtu \d+) xdp[a-z]*(?:\/id:\d+)?| event [A-Z]+(?: [A-Z]+)*/g

/**
 * Reads what the monitor writes, in pieces of any length.
 *
 * @returns tells what the lines of the next piece are about
 */
export function readEvents(kinds: readonly MonitorObject[]): (text: string) => ReadonlySet<KernelEvent> {
  let rest = ''
  const links = new Map<string, string>()
  const isOther = (line: string): boolean => {
    const [, deleted, index = ''] = LINK.exec(line) ?? []
    const told = line.replace(PROGRAM, '')
    if (deleted === undefined && links.get(index) === told) return false
    if (deleted === undefined) links.set(index, told)
    else links.delete(index)
    return true
  }
  return (text) => {
    const lines = (rest + text).split('\n')
    const last = lines.pop() ?? ''
    // Of interfaces the whole line is looked at, of everything else the label.
    rest = last.startsWith('[LINK]') ? last : last.slice(0, LONGEST_LABEL)
    const found = new Set<KernelEvent>()
    for (const line of lines) {
      const kind = kinds.find((one) => line.startsWith(`[${LABELS[one]}]`))
      if (kind !== undefined) found.add(kind)
      if (kind === 'link' && isOther(line)) found.add('device')
    }
    return found
  }
}

/**
 * Starts to listen to events of these kinds in the network namespace of this process. It ends with this process,
 * however that ends, because a process that stays would keep the namespace.
 */
export function monitorKernel(
  kinds: readonly MonitorObject[],
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
  const read = readEvents(kinds)
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const found = read(text)
    if (found.size > 0) onEvents(found)
  })
  return {
    ended: child.then(({ stderr, shortMessage }) => stderrWords(stderr) || (shortMessage ?? 'it ended')),
    stop: () => void child.kill('SIGKILL'),
  }
}
