// Steps of an apply that waits for its confirmation: the start of its guardian, and the way back.

import { shownProgram } from '../../abi/answer.ts'
import { bpftool, type Command, commandLine } from '../../abi/command.ts'
import { fail, XdpError } from '../../diagnostics.ts'
import type { Reverting, StepOf } from '../../features/step.ts'
import { monotonicMs } from '../host/control.ts'
import { startGuardian } from '../host/guardian.ts'
import { type RawLink, readLinks } from '../host/links.ts'
import { removePending, writePending } from '../host/pending.ts'
import { askBatch, runBatch } from '../tools/bpftool.ts'
import { detachCommand, replaceCommand } from './attach.ts'
import type { KindTable, Run } from './kind.ts'

async function guard({ terms, steps }: StepOf<'guard'>, { host, programId }: Run): Promise<void> {
  const { milliseconds, ...confirmation } = terms
  const known = steps.map((step) => (step.kind === 'revert' ? { ...step, programId } : step))
  await writePending(host, { ...confirmation, deadlineMs: monotonicMs() + milliseconds, steps: known })
  await startGuardian(host, terms.id)
}

type Links = ReadonlyMap<string, RawLink>

/** The commands that put the previous program of an interface back, given the program to replace. */
function commandsBack({ interface: name, previous, given }: Reverting, link: RawLink, current: number): Command[] {
  const ours = link.programs.filter(({ id }) => id === current || id === given)
  // Another process has attached a program, or ours is gone already.
  if (link.programs.length > 0 && ours.length === 0) return []
  const others = ours.filter(({ mode }) => mode !== previous?.mode)
  const { mode, pinned: program } = previous ?? {}
  const detaching = others.map((one) => detachCommand(one.mode, name))
  return mode && program ? [...detaching, replaceCommand({ mode, program, interface: name })] : detaching
}

/** The id of a pinned program. */
async function idOf(pin: string): Promise<number> {
  const [shown] = await askBatch(shownProgram, [bpftool('prog', 'show', 'pinned', pin)])
  return shown?.id as number
}

const isSame = ({ ifindex }: Reverting, link: RawLink | undefined): link is RawLink => link?.ifindex === ifindex

/** Throws E108 if an interface still runs the program that was to be replaced. */
function requireReverted(interfaces: readonly Reverting[], links: Links, current: number): void {
  const stuck = interfaces.filter(({ interface: name }) => links.get(name)?.programs.some(({ id }) => id === current))
  if (stuck.length === 0) return
  const names = stuck.map((one) => one.interface).join(', ')
  throw fail('E108', `${names} still runs the program that was to be replaced by the previous one`)
}

/** Runs the commands of all interfaces in one process; if one fails, those of each interface in its own. */
async function runAll(perInterface: readonly (readonly Command[])[]): Promise<void> {
  try {
    await runBatch(perInterface.flat())
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    const ends = await Promise.allSettled(perInterface.map((commands) => runBatch(commands)))
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed) throw failed.reason
  }
}

/**
 * Puts the previous programs back, all in one process. Leaves programs of others alone, and interfaces that are gone or
 * were made again. May be repeated.
 */
async function revert({ program, programId, interfaces }: StepOf<'revert'>): Promise<void> {
  const [links, current] = await Promise.all([readLinks(), programId ?? idOf(program)])
  const perInterface = interfaces.flatMap((one) => {
    const link = links.get(one.interface)
    return isSame(one, link) ? [commandsBack(one, link, current)] : []
  })
  await runAll(perInterface)
  requireReverted(interfaces, await readLinks(), current)
}

export const GUARDING = {
  guard: {
    print: ({ terms: { id } }) => [`# starts guardian ${id}, which reverts this unless \`xdp confirm\` arrives`],
    run: guard,
    undo: (_, { host }) => removePending(host),
  },
  revert: {
    print: ({ interfaces }) =>
      interfaces.flatMap(({ interface: name, previous }) =>
        previous
          ? [commandLine(replaceCommand({ mode: previous.mode, program: previous.pinned, interface: name }))]
          : [`# detaches ${name}`],
      ),
    run: revert,
  },
} as const satisfies KindTable<'guard' | 'revert'>
