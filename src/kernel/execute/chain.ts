// Puts programs of others behind ours, and back on their interfaces. All of the first happens in the directory of a new
// generation, beside the live one; see bpf/include/chain.h for the program's half.

import { symlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { shownProgram } from '../../abi/answer.ts'
import { bpftool, type Command, commandLine, keyBytes } from '../../abi/command.ts'
import { INTERFACE_SLOTS } from '../../abi/generated.ts'
import { ownerPin } from '../../abi/paths.ts'
import { fail, type XdpError } from '../../diagnostics.ts'
import type { ChainLink, StepOf } from '../../features/step.ts'
import { effectiveCapabilities, mayOpenForeign } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { askBatch, runBatch, runBpftool } from '../tools/bpftool.ts'
import { permissionHint } from '../tools/permission.ts'
import { makeDirectory, removePins } from '../tools/pins.ts'
import { place } from '../tools/place.ts'
import { CommandError } from '../tools/spawn.ts'
import { attachCommand } from './attach.ts'
import type { Run } from './kind.ts'

type Filling = Omit<StepOf<'fill-chain'>, 'kind'>

/** Errno of a program that others extend, such as libxdp's dispatcher, and of one of another kind. */
const EBUSY = 16

/** The slot of unknown interfaces, where no program goes. */
const NO_INTERFACE = 0

const createCommand = (map: string): Command =>
  bpftool(
    ...['map', 'create', map, 'type', 'prog_array', 'key', '4', 'value', '4'],
    ...['entries', `${INTERFACE_SLOTS}`, 'name', 'chain'],
  )

const enterCommand = (map: string, slot: number, pin: string): Command =>
  bpftool('map', 'update', 'pinned', map, 'key', ...keyBytes(slot), 'value', 'pinned', pin)

const pinCommand = ({ words, pin }: Pick<ChainLink, 'words' | 'pin'>): Command => bpftool('prog', 'pin', ...words, pin)

export const chainLines = ({ directory, map, links }: Filling): string[] => [
  `mkdir -p ${directory}`,
  commandLine(createCommand(map)),
  ...links.flatMap((link) => [
    commandLine(pinCommand(link)),
    commandLine(enterCommand(map, link.slot, link.pin)),
    ...(link.owner === undefined ? [] : [`ln -s ${link.owner} ${ownerPin(link.pin)}`]),
  ]),
]

const cannotOpen = ({ interface: name, id }: ChainLink): XdpError =>
  fail(
    'E104',
    `putting program ${id} on ${name} behind ours needs CAP_SYS_ADMIN, because it is opened by its id`,
    `${permissionHint(['SYS_ADMIN'])}, or detach that program first`,
  )

/** Explains why the kernel does not let ours call a program. */
function refused(error: unknown, { interface: name, id }: ChainLink, before: ChainLink | undefined): unknown {
  if (!(error instanceof CommandError)) return error
  const detach = `write \`on_conflict: replace\` under ${name} to end it, or leave ${name} out of this file`
  if (error.errno === EBUSY || error.words.includes('busy')) {
    const message = `program ${id} on ${name} cannot run behind ours: other programs extend it, as those of libxdp extend its dispatcher, and this kernel lets no program call such a one`
    const hint = `load a single program without the dispatcher (LIBXDP_SKIP_DISPATCHER=1), which then can; or ${detach}`
    return fail('E257', message, hint, error)
  }
  const other =
    before === undefined
      ? ''
      : `, or it takes packets in several buffers (xdp.frags) and program ${before.id} on ${before.interface} does not, or the reverse`
  const message = `the kernel lets ours not call program ${id} on ${name}: ${error.words}. It may be bound to the device (dev-bound)${other}`
  return fail('E257', message, detach, error)
}

/** Enters programs one by one, so that the refused one is known. */
async function enter(map: string, links: readonly ChainLink[]): Promise<void> {
  for (const [i, link] of links.entries()) {
    await runBpftool(...enterCommand(map, link.slot, link.pin).argv).catch((error: unknown) => {
      throw refused(error, link, i > 0 ? links[0] : undefined)
    })
  }
}

/** Whether programs that call those of the map must be for packets in one buffer. */
async function isLinear({ directory, map, kinds, links: [first] }: Filling): Promise<boolean> {
  const pins = `${directory}/kinds`
  const fits = async (kind: string): Promise<boolean> => {
    try {
      await runBpftool(...enterCommand(map, NO_INTERFACE, `${pins}/${kind}`).argv)
    } catch (error) {
      if (error instanceof CommandError) return false
      throw error
    }
    await runBpftool('map', 'delete', 'pinned', map, 'key', ...keyBytes(NO_INTERFACE))
    return true
  }
  await place(kinds)
  await runBpftool('prog', 'loadall', kinds, pins)
  try {
    if (await fits('kind_frags')) return false
    if (await fits('kind_linear')) return true
  } finally {
    await removePins(pins)
  }
  const { id, interface: name } = first as ChainLink
  const message = `program ${id} on ${name} cannot run behind ours: the kernel lets it be called by no ordinary XDP program, because it was loaded for another attach type, or without the JIT`
  throw fail(
    'E257',
    message,
    `load it as an XDP program for interfaces, or write \`on_conflict: replace\` under ${name}`,
  )
}

/** Throws E206 if a pin holds another program than the plan names. */
async function requireSame(links: readonly ChainLink[]): Promise<void> {
  const shown = await askBatch(
    shownProgram,
    links.map(({ pin }) => bpftool('prog', 'show', 'pinned', pin)),
  )
  for (const [i, { interface: name, id }] of links.entries()) {
    if (shown[i]?.id === id) continue
    const message = `program ${id} of ${name} was replaced by its owner after the plan was made; nothing was changed`
    throw fail('E206', message, 'run it again')
  }
}

export async function fillChain(step: Filling, run: Run): Promise<void> {
  const { directory, map, links } = step
  const byId = links.find(({ words: [by] }) => by === 'id')
  if (byId && !mayOpenForeign(await effectiveCapabilities())) throw cannotOpen(byId)
  await makeDirectory(directory, dirname(run.paths.root))
  await runBatch([createCommand(map), ...links.map(pinCommand)])
  await requireSame(links)
  await enter(map, links)
  run.isLinear = await isLinear(step)
  for (const { pin, owner } of links) if (owner !== undefined) await symlink(owner, ownerPin(pin))
}

type GivingBack = Omit<StepOf<'give-back'>, 'kind'>

export const giveBackCommand = ({ interface: name, mode, words }: GivingBack): Command =>
  attachCommand(mode, words, name, true)

/** Puts a program back in one operation of the kernel, and reads back. Leaves an interface alone that does not run ours. */
export async function giveBack(step: GivingBack): Promise<void> {
  const { interface: name, ifindex, ours, id } = step
  const before = (await readLinks()).get(name)
  if (before?.ifindex !== ifindex || !before.programs.some((program) => ours.includes(program.id))) return
  await runBatch([giveBackCommand(step)])
  const after = (await readLinks()).get(name)
  if (after?.ifindex !== ifindex || after.programs.some((program) => program.id === id)) return
  throw fail('E108', `${name} does not run program ${id} after bpftool attached it again`)
}
