// Faults at a point.

import type { Answer, Fate, Point } from './interceptor.ts'
import { isRead, joinAnswers } from './interceptor.ts'
import { kill, killAll } from './processes.ts'
import type { Running, Scene } from './scene.ts'

export interface Fault {
  readonly name: string
  /** Whether it can happen at a point. */
  readonly fits: (point: Point) => boolean
  readonly strike: (scene: Scene, running: Running, point: Point) => Promise<Fate>
  /** It ends the command itself, so that its status says nothing. */
  readonly isKill?: boolean
  /** Undoes what it did to the host. Returns the flags that the next apply needs. */
  readonly mend?: (scene: Scene) => readonly string[]
}

const anywhere = (): boolean => true
const beforeCommand = ({ done, of }: Point): boolean => done < of
const behindAll = ({ done, of, call }: Point): boolean => done === of && ['bpftool', 'ip'].includes(call.tool)

/** The command and every tool die at once, as when a service manager kills a unit or a session. */
export const KILL_ALL: Fault = {
  name: 'SIGKILL of the command with its tools',
  fits: anywhere,
  isKill: true,
  async strike({ lab }, { pid }) {
    await killAll(lab, pid)
    return 'goes on'
  },
}

/** The tool goes on without the command. */
export const KILL_COMMAND: Fault = {
  name: 'SIGKILL of the command alone',
  fits: anywhere,
  isKill: true,
  async strike(_, { pid }) {
    kill(pid)
    return 'goes on'
  },
}

interface Refusal {
  readonly name: string
  readonly errno: number
  readonly words: string
}

/** errno(3), with the words of strerror(3) that bpftool and ip print. */
export const REFUSALS: readonly Refusal[] = [
  { name: 'EPERM', errno: 1, words: 'Operation not permitted' },
  { name: 'ENOENT', errno: 2, words: 'No such file or directory' },
  { name: 'E2BIG', errno: 7, words: 'Argument list too long' },
  { name: 'ENOMEM', errno: 12, words: 'Cannot allocate memory' },
  { name: 'EBUSY', errno: 16, words: 'Device or resource busy' },
  { name: 'EEXIST', errno: 17, words: 'File exists' },
  { name: 'ENOSPC', errno: 28, words: 'No space left on device' },
]

/** The last answer of a tool that refuses its next command. */
function refusal({ call, done }: Point, { errno, words }: Refusal): Answer {
  const isBatch = call.lines.length > 0
  if (call.tool === 'bpftool') {
    const error = { error: `cannot do that: ${words}` }
    const output = isBatch ? [{ command: (call.lines[done] ?? '').split(' ').slice(0, 2), output: error }] : error
    return { status: 256 - errno, out: JSON.stringify(output), err: '' }
  }
  const line = isBatch ? `Command failed -:${done + 1}\n` : ''
  const err = call.tool === 'ip' ? `RTNETLINK answers: ${words}\n${line}` : `${call.tool}: ${words}\n`
  return { status: call.tool === 'ip' ? 2 : 71, out: '', err }
}

/** The next command fails as one of the kernel's refusals makes it fail; those before it have taken effect. */
export const refusing = (one: Refusal): Fault => ({
  name: one.name,
  fits: beforeCommand,
  strike: async (_scene, _running, point) => (before) => {
    const isFirst = before.out === '' && before.err === ''
    const last = refusal(point, one)
    return isFirst ? last : joinAnswers([before, last])
  },
})

/** The tool is killed, as for lack of memory. */
const DYING: Fault = {
  name: 'SIGKILL of the tool',
  fits: beforeCommand,
  strike: async () => (before) => ({ ...before, status: 137, err: 'Killed\n' }),
}

/** A command has no effect, and its tool claims success. */
const IDLE: Fault = {
  name: 'success without effect',
  fits: ({ call, done }) => {
    const line = call.lines[done]
    return call.tool === 'bpftool' && line !== undefined && !isRead(line) && !line.startsWith('prog run')
  },
  strike: async () => 'leaves out',
}

const garbage = (name: string, spoil: (out: string) => string): Fault => ({
  name,
  fits: behindAll,
  strike: async () => (before) => ({ ...before, out: spoil(before.out) }),
})

/** Answers that are none, though every command has taken effect. */
export const SPOILT: readonly Fault[] = [
  garbage('half an answer', (out) => out.slice(0, out.length / 2)),
  garbage('garbage', () => '\u0000}{ not JSON [[['),
  garbage('another type', () => '{"links":7}'),
]

export const BROKEN: readonly Fault[] = [DYING, IDLE, ...SPOILT]

/** The tool never ends. */
export const HANGING: Fault = { name: 'hang', fits: beforeCommand, strike: async () => 'hangs' }

/** The bpffs goes away, and with it every pin. The programs on the interfaces are then without an owner. */
const UNMOUNTED: Fault = {
  name: 'bpffs unmounted',
  fits: anywhere,
  async strike(scene) {
    scene.unmount()
    return 'goes on'
  },
  mend(scene) {
    scene.mount()
    return ['--reclaim']
  },
}

/** One of the two interfaces is removed. */
const UNPLUGGED: Fault = {
  name: 'interface removed',
  fits: anywhere,
  async strike(scene) {
    scene.unplug()
    return 'goes on'
  },
  mend(scene) {
    scene.plug()
    return []
  },
}

/** The host changes under a command that runs. */
export const UPHEAVALS: readonly Fault[] = [UNMOUNTED, UNPLUGGED]
