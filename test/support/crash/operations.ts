// The operations of the matrix: each brings the host to a start, then runs one command that may be disturbed anywhere.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CLI } from '../hosts.ts'
import { SOURCES, type Verdict } from './flow.ts'
import { other, type Running, type Scene } from './scene.ts'

/** A command that is about to run. */
export interface Ready {
  /** The policy before and after it. */
  readonly from: Verdict
  readonly to: Verdict
  /** The process to kill may be another one than the command, which has ended. */
  readonly start: () => Promise<Running>
}

export interface Operation {
  readonly name: string
  /** Policies that packets may meet besides the policies before and after. */
  readonly also?: readonly Verdict[]
  /** Whether a guardian may outlive the command. */
  readonly isGuarded?: boolean
  /** Whether the process goes on after a failure, and tries again. */
  readonly isPersistent?: boolean
  readonly prepare: (scene: Scene) => Promise<Ready>
  /** Repairs, and throws unless everything is as the file says. */
  readonly converge: (scene: Scene, flags: readonly string[]) => Promise<Verdict>
}

const AUTO = ['apply', '--auto-approve'] as const

/** Applies the file, and checks that this is all there is. */
async function toFile(scene: Scene, flags: readonly string[]): Promise<Verdict> {
  await scene.converge(...flags)
  await scene.expectClean()
  return scene.file
}

/** Whether anything is applied. */
const isApplied = ({ lab }: Scene): boolean => lab.pins().length > 0

/** Applies the old policy, if none is applied. */
async function establish(scene: Scene, more?: Parameters<Scene['write']>[1]): Promise<void> {
  if (isApplied(scene)) return
  scene.write('old', more)
  await scene.lab.ok(...AUTO)
}

const command = (scene: Scene, from: Verdict, to: Verdict, ...args: readonly string[]): Ready => ({
  from,
  to,
  start: async () => scene.start(...args),
})

/** An edit of the file to the other policy. `write` may change more than the list. */
const edit = (
  name: string,
  write: (scene: Scene, edition: 'old' | 'new') => void,
  more: Partial<Operation> = {},
  args: readonly string[] = AUTO,
): Operation => ({
  name,
  async prepare(scene) {
    if (!isApplied(scene)) {
      write(scene, 'old')
      await scene.lab.ok(...AUTO)
    }
    const from = scene.file
    write(scene, other(from))
    return command(scene, from, scene.file, ...args)
  },
  converge: toFile,
  ...more,
})

/** The edit of one list. */
export const EDIT = edit('edit', (scene, edition) => scene.write(edition))

const create: Operation = {
  name: 'create',
  async prepare(scene) {
    if (isApplied(scene)) await scene.lab.ok('destroy', '--auto-approve')
    scene.write('old')
    return command(scene, 'none', 'old', ...AUTO)
  },
  converge: toFile,
}

/** The list of the policy is a file, with thousands of other addresses that change too. */
function writeFeed(scene: Scene, edition: 'old' | 'new'): void {
  scene.file = edition
  const others = Array.from({ length: 3000 }, (_, i) => `100.${edition === 'old' ? 64 : 65}.${i >> 8}.${i & 255}`)
  writeFileSync(join(scene.lab.directory, 'feed.txt'), [SOURCES.dropped, SOURCES[edition], ...others].join('\n'))
  const list = '{ name: feed, file: feed.txt, exclude_private: false }'
  scene.lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: {}, eth1: {} }\nblocklist: [${list}]\n`)
}

const BACKENDS = { old: '[198.51.100.2]', new: '[198.51.100.2, { address: 198.51.100.3, weight: 2 }]' } as const
const service = (edition: 'old' | 'new'): string =>
  `services: { web: { vip: 192.0.2.10, port: 80, protocol: tcp, forwarding: nat, backends: ${BACKENDS[edition]} } }\n`

/** An apply that was made by the other of two builds. */
const update: Operation = edit('program update', (scene, edition) => {
  scene.write(edition)
  scene.lab.cli = edition === 'old' ? CLI : scene.otherBuild()
})

/** A policy that waits for its confirmation, and a command that ends the wait. */
const waiting = (
  name: string,
  end: (scene: Scene, from: Verdict, to: Verdict) => Ready,
  time = '1h',
  more: Partial<Operation> = {},
): Operation => ({
  name,
  isGuarded: true,
  async prepare(scene) {
    await establish(scene)
    const from = scene.file
    scene.write(other(from))
    await scene.lab.ok(...AUTO, '--confirm', time)
    return end(scene, from, scene.file)
  },
  converge: toFile,
  ...more,
})

const cancel = waiting('confirm --cancel', (scene, from, to) => command(scene, to, from, 'confirm', '--cancel'))
const confirm = waiting('confirm', (scene, _, to) => command(scene, to, to, 'confirm'))

/** The guardian is the process that acts. */
const expiry = waiting(
  'expiry of a confirmation',
  (scene, from, to) => ({
    from: to,
    to: from,
    async start() {
      const [guardian] = scene.guardians()
      if (!guardian) throw new Error('no guardian runs')
      const ended = (async () => {
        while (scene.guardians().some(({ pid }) => pid === guardian.pid)) await delay(10)
        return { status: null, stderr: '' }
      })()
      return { pid: guardian.pid, ended }
    },
  }),
  '1500ms',
  { isPersistent: true },
)

const rollback: Operation = {
  name: 'rollback',
  async prepare(scene) {
    if (!isApplied(scene)) {
      await establish(scene)
      scene.write('new')
      await scene.lab.ok(...AUTO)
    }
    return command(scene, 'new', 'old', 'rollback', '--auto-approve')
  },
  converge: toFile,
}

/** Takes over programs that no pin names any more, if that is needed. */
async function reclaim({ lab }: Scene, flags: readonly string[]): Promise<void> {
  if (flags.length > 0) await lab.ok(...AUTO, ...flags)
}

const destroy: Operation = {
  name: 'destroy',
  async prepare(scene) {
    await establish(scene)
    return command(scene, 'old', 'none', 'destroy', '--auto-approve')
  },
  async converge(scene, flags) {
    await reclaim(scene, flags)
    await scene.lab.ok('destroy', '--auto-approve')
    await scene.expectNothing()
    return 'none'
  },
}

/** Whether a ban of a killed command took effect is open; the next one does. */
const ban: Operation = {
  name: 'ban',
  async prepare(scene) {
    await establish(scene)
    await scene.lab.xdp('unban', SOURCES.new)
    return command(scene, 'old', 'banned', 'ban', SOURCES.new)
  },
  async converge(scene, flags) {
    await reclaim(scene, flags)
    await scene.lab.ok('ban', SOURCES.new)
    await scene.expectClean()
    return 'banned'
  },
}

/** A daemon meets an edit. It ends after it has applied that, unless it is killed. */
const daemon: Operation = {
  name: 'daemon',
  isPersistent: true,
  async prepare(scene) {
    await establish(scene)
    const from = scene.file
    const running = await startDaemon(scene)
    return {
      from,
      to: other(from),
      async start() {
        scene.write(other(from))
        return running
      },
    }
  },
  converge: toFile,
}

/** Starts a daemon and waits until it watches. It is ended once it has applied an edit. */
async function startDaemon(scene: Scene): Promise<Running> {
  const child = scene.lab.start('watch', '--debounce', '20ms')
  let isWatching: () => void = () => undefined
  const watching = new Promise<void>((resolve) => {
    isWatching = resolve
  })
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    if (text.includes('"event":"ready"')) isWatching()
    if (text.includes('"event":"applied"') && text.includes('"trigger":"edit"')) child.kill('SIGTERM')
  })
  const running = scene.adopt(child)
  await Promise.race([watching, running.ended])
  return running
}

export const OPERATIONS: readonly Operation[] = [
  create,
  EDIT,
  edit('feed swap', writeFeed),
  edit('services edit', (scene, edition) => scene.write(edition, { more: service(edition) })),
  edit(
    'mode change',
    (scene, edition) => scene.write(edition, { eth0: `{ mode: ${edition === 'old' ? 'native' : 'generic'} }` }),
    {
      also: ['none'],
    },
  ),
  update,
  edit('apply --confirm', (scene, edition) => scene.write(edition), { isGuarded: true }, [...AUTO, '--confirm', '1h']),
  confirm,
  cancel,
  expiry,
  rollback,
  destroy,
  ban,
  daemon,
]
