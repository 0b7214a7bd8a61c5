// Netlink events from `ip monitor`, as they happen. They are hints only: the kernel may drop events, so no caller may
// rely on receiving all of them.

import { execa } from 'execa'
import { XdpError } from '../../diagnostics.ts'
import { findTool, toolEnvironment } from '../tools/places.ts'
import { stderrWords } from '../tools/spawn.ts'

/** `ip monitor OBJECT`, and the label of each line about such an object (the monitor of iproute2 prints no JSON). */
const LABELS = {
  link: 'LINK',
  address: 'ADDR',
  route: 'ROUTE',
  rule: 'RULE',
  nexthop: 'NEXTHOP',
  neighbour: 'NEIGH',
} as const
export type MonitorObject = keyof typeof LABELS
/**
 * `device`: an interface differs from its last event in more than its XDP program. `neighbour`: an entry has another MAC
 * address than in its last event, or was lost or found; the states in between, which every verification passes through,
 * make no event.
 */
export type KernelEvent = MonitorObject | 'device'

const OBJECTS: Readonly<Record<MonitorObject, string>> = {
  link: 'link',
  address: 'address',
  route: 'route',
  rule: 'rule',
  nexthop: 'nexthop',
  neighbour: 'neigh',
}

/** Most entries of which the last event is remembered; then it starts again. */
const MOST_NEIGHBOURS = 65_536

/** Longest label at the start of a line, in characters. */
const LONGEST_LABEL = 16

/** Labels of lines that are read beyond their label. */
const WHOLE = ['[LINK]', '[NEIGH]'] as const

export interface Monitor {
  /** Settles when the monitor has ended, with its last words, whether it was stopped or ended by itself. */
  readonly ended: Promise<string>
  readonly stop: () => void
}

const NEIGHBOUR = /^\[NEIGH\](Deleted )?(\S+) dev (\S+)(?: lladdr (\S+))?(?:.* (FAILED|NONE))?/
const LINK = /^\[LINK\](Deleted )?(\d+):/
/** The parts of a line about an interface that name its program and the reason of the event. */
const PROGRAM = /(?<= mtu \d+) xdp[a-z]*(?:\/id:\d+)?| event [A-Z]+(?: [A-Z]+)*/g

/**
 * Parses the output of the monitor, in pieces of any length.
 *
 * @returns a function from the next piece of output to the kinds of events in it
 */
export function readEvents(kinds: readonly MonitorObject[]): (text: string) => ReadonlySet<KernelEvent> {
  let rest = ''
  const links = new Map<string, string>()
  const isOther = (line: string): boolean => {
    const [, deleted, index = ''] = LINK.exec(line) ?? []
    const state = line.replace(PROGRAM, '')
    if (deleted === undefined && links.get(index) === state) return false
    if (deleted === undefined) links.set(index, state)
    else links.delete(index)
    return true
  }
  const neighbours = new Map<string, string>()
  const isMoved = (line: string): boolean => {
    const [, deleted, address = '', device = '', mac = '', lost = ''] = NEIGHBOUR.exec(line) ?? []
    const [key, state] = [`${device} ${address}`, `${mac} ${lost}`]
    if (deleted === undefined && neighbours.get(key) === state) return false
    if (neighbours.size >= MOST_NEIGHBOURS) neighbours.clear()
    if (deleted === undefined) neighbours.set(key, state)
    else neighbours.delete(key)
    return true
  }
  return (text) => {
    const lines = (rest + text).split('\n')
    const last = lines.pop() ?? ''
    // Keep whole lines about interfaces and neighbours, and only the labels of others.
    rest = WHOLE.some((label) => last.startsWith(label)) ? last : last.slice(0, LONGEST_LABEL)
    const found = new Set<KernelEvent>()
    for (const line of lines) {
      const kind = kinds.find((one) => line.startsWith(`[${LABELS[one]}]`))
      if (kind !== undefined && (kind !== 'neighbour' || isMoved(line))) found.add(kind)
      if (kind === 'link' && isOther(line)) found.add('device')
    }
    return found
  }
}

/** Starts the process; the reason if a tool is missing, which can be installed while the daemon runs. */
function startMonitor(kinds: readonly MonitorObject[]) {
  const words = ['-o', 'monitor', 'label', ...kinds.map((kind) => OBJECTS[kind])]
  try {
    return execa(findTool('setpriv'), ['--pdeathsig', 'KILL', findTool('ip'), ...words], {
      env: toolEnvironment(),
      extendEnv: false,
      stdin: 'ignore',
      reject: false,
      detached: true,
      buffer: { stdout: false },
      encoding: 'utf8',
    })
  } catch (error) {
    if (error instanceof XdpError) return error.message
    throw error
  }
}

/**
 * Starts to monitor events of these kinds in the network namespace of this process. The kernel kills the monitor when
 * this process ends, because a leftover monitor would keep the namespace alive.
 */
export function monitorKernel(
  kinds: readonly MonitorObject[],
  onEvents: (kinds: ReadonlySet<KernelEvent>) => void,
): Monitor {
  const child = startMonitor(kinds)
  if (typeof child === 'string') return { ended: Promise.resolve(child), stop: () => undefined }
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
