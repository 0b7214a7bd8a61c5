// The programs of others behind ours: the pins in the directories of chains → Live.chains. Costs a listing of a directory
// where there are none.

import { readlink } from 'node:fs/promises'
import { bytes, list as listOf, record, type ShapeOf, shownProgram } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { bpftool } from '../../abi/command.ts'
import type { Generation, Instance } from '../../abi/instance.ts'
import { chainedOn, ownerPin, type Paths } from '../../abi/paths.ts'
import type { Link, LiveChain, ObjectKey } from '../../model/live.ts'
import type { Attachment, ChainedProgram, State } from '../../model/state.ts'
import { chainedText } from '../../plan/chain.ts'
import { askBatch, askBpftool } from '../tools/bpftool.ts'
import { list } from '../tools/pins.ts'
import { CommandError } from '../tools/spawn.ts'

type Shown = ShapeOf<typeof shownProgram>

/** The entries of a map of programs, as `bpftool map dump` prints them: the ids of the programs by slot. */
const entries = listOf(record({ key: bytes(4), value: bytes(4) }))

const numberOf = ({ buffer }: Uint8Array<ArrayBuffer>): number => new DataView(buffer).getUint32(0, LITTLE_ENDIAN)

/** Returns undefined where bpftool refuses: another process has removed a pin, or put something else in its place. */
async function tryAsk<T>(asking: Promise<T>): Promise<T | undefined> {
  try {
    return await asking
  } catch (error) {
    if (error instanceof CommandError) return undefined
    throw error
  }
}

const programOf = ({ id, name = '', tag = '' }: Shown, pin: string | undefined): ChainedProgram => ({
  id,
  name,
  tag,
  pin,
})

/** The chain of one generation. */
interface Chain {
  /** Ids by slot. */
  readonly held: ReadonlyMap<number, number>
  /** By the number of the interface. */
  readonly chained: ReadonlyMap<number, Omit<LiveChain, 'held'>>
}

/** One program that a generation keeps. */
async function readChained(pin: string): Promise<Omit<LiveChain, 'held'> | undefined> {
  const shown = await tryAsk(askBpftool(shownProgram, 'prog', 'show', 'pinned', pin))
  if (shown === undefined) return undefined
  const owner = await readlink(ownerPin(pin)).catch(() => undefined)
  const program = programOf(shown, owner)
  const words = ['pinned', pin] as const
  if (owner === undefined) return { program, next: program, words }
  const now = await tryAsk(askBpftool(shownProgram, 'prog', 'show', 'pinned', owner))
  // A removed pin does not end a program: xdp-filter removes its own when it finds another program on the interface.
  return { program, next: now ? programOf(now, owner) : { ...program, pin: undefined }, words }
}

async function readChain(paths: Paths, number: number): Promise<Chain | undefined> {
  const names = await list(paths.chain(number))
  if (names.length === 0) return undefined
  const dump = await tryAsk(askBpftool(entries, 'map', 'dump', 'pinned', paths.chainMap(number)))
  const held = new Map((dump ?? []).map(({ key, value }) => [numberOf(key), numberOf(value)]))
  const pinned = names.flatMap((name) => chainedOn(name) ?? [])
  const chained = await Promise.all(
    pinned.map(async (ifindex) => [ifindex, await readChained(paths.chained(number, ifindex))] as const),
  )
  return { held, chained: new Map(chained.flatMap(([ifindex, one]) => (one ? [[ifindex, one]] : []))) }
}

/** A program that a map still holds, although our pin of it was removed. */
async function readUnpinned(id: number | undefined): Promise<Omit<LiveChain, 'held'> | undefined> {
  if (id === undefined) return undefined
  const [shown] = (await tryAsk(askBatch(shownProgram, [bpftool('prog', 'show', 'id', `${id}`)]))) ?? []
  const program = shown ? programOf(shown, undefined) : { id, name: '', tag: '', pin: undefined }
  return { program, next: program, words: ['id', `${id}`] }
}

/** The programs behind ours on all interfaces. `slots`: slots of interfaces by name. */
export async function readChains(
  paths: Paths,
  { generations }: Pick<Instance, 'generations'>,
  committed: Pick<Generation, 'number'> | undefined,
  links: ReadonlyMap<string, Link>,
  slots: ReadonlyMap<string, number>,
): Promise<Map<string, LiveChain>> {
  const read = await Promise.all(
    generations.map(async ({ number }) => [number, await readChain(paths, number)] as const),
  )
  const chains = new Map(read)
  const found = new Map<string, LiveChain>()
  for (const { name, ifindex, programs } of links.values()) {
    const running = programs.find(({ generation }) => generation !== undefined)?.generation
    const chain = chains.get(running ?? committed?.number ?? 0)
    if (chain === undefined) continue
    const held = chain.held.get(slots.get(name) ?? 0)
    const known = chain.chained.get(ifindex) ?? (await readUnpinned(held))
    if (known) found.set(name, { ...known, held })
  }
  return found
}

/** The attachments, each with the program behind it. */
export const withChains = (
  interfaces: State['interfaces'],
  chains: ReadonlyMap<string, LiveChain>,
): Map<string, Attachment> =>
  new Map(
    [...interfaces].map(([name, attachment]) => {
      const chain = chains.get(name)?.program
      return [name, chain === undefined ? attachment : { ...attachment, chain }]
    }),
  )

function driftOfChain({ program, held, next, words: [by] }: LiveChain): string | undefined {
  const text = chainedText(program)
  if (held === undefined) return `${text} behind ours gets no packets: its entry in our map of programs is gone`
  if (held !== program.id) return `packets that pass go on to program ${held}, not to ${text}`
  if (next.id !== program.id)
    return `${text} behind ours was replaced by its owner: the pin is now that of program ${next.id}`
  if (next.pin !== program.pin) return `the pin of ${text} behind ours was removed; it keeps running`
  if (by === 'id') return `our pin of ${text} behind ours was removed`
  return undefined
}

/** Adds interfaces that run our program, and behind it another program than was put there, or its owner wants. */
export function noteChainDrift(
  chains: ReadonlyMap<string, LiveChain>,
  links: ReadonlyMap<string, Link>,
  drift: Map<ObjectKey, string>,
): void {
  for (const [name, chain] of chains) {
    const runsOurs = links.get(name)?.programs.some(({ generation }) => generation !== undefined)
    const what = driftOfChain(chain)
    if (runsOurs && what !== undefined && !drift.has(`interface:${name}`)) drift.set(`interface:${name}`, what)
  }
}
