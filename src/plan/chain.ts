// Programs of others behind ours: `on_conflict: chain`. A program that is attached to an interface of the file goes behind
// ours, and one that is there already stays, as its owner has it by now.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired, InterfaceOptions } from '../model/desired.ts'
import type { AttachedProgram, Link, Live } from '../model/live.ts'
import type { AttachMode, Attachment, ChainedProgram } from '../model/state.ts'
import { foreignPrograms } from './attachments.ts'

/** Whether a program has the name of ours. Its pins are lost, or those of another instance. */
export const isLost = ({ name }: AttachedProgram): boolean => name === 'xdp_filter'

/** The dispatcher of libxdp calls the programs that its tools loaded. */
export const isDispatcher = ({ name }: Pick<AttachedProgram, 'name'>): boolean => name === 'xdp_dispatcher'

/** `program 12 xdp_foo (tag 3b185187f1855c4c, pinned at /sys/fs/bpf/foo)`. */
export function chainedText({ id, name, tag, pin }: ChainedProgram): string {
  const facts = [...(tag === '' ? [] : [`tag ${tag}`]), ...(pin === undefined ? [] : [`pinned at ${pin}`])]
  return `program ${id}${name && ` ${name}`}${facts.length > 0 ? ` (${facts.join(', ')})` : ''}`
}

/** Foreign programs that `--reclaim` does not take for ours. */
const others = (link: Link | undefined, { reclaims }: InterfaceOptions): readonly AttachedProgram[] =>
  foreignPrograms(link).filter((program) => !reclaims || !isLost(program))

/** The program that goes behind ours on an interface of the file. */
function chainFor(name: string, desired: Desired, live: Live): ChainedProgram | undefined {
  const options = desired.options.get(name)
  if (options?.onConflict !== 'chain') return undefined
  const [attached] = others(live.links.get(name), options)
  if (attached === undefined) return live.chains.get(name)?.next
  const { id, name: called, tag, pin } = attached
  return { id, name: called, tag, pin }
}

/** An interface of the file with the program that goes behind ours. */
export function withChain(attachment: Attachment, desired: Desired, live: Live): Attachment {
  const chain = chainFor(attachment.interface, desired, live)
  return chain === undefined ? attachment : { ...attachment, chain }
}

export const sameChain = (left: Attachment, right: Attachment): boolean => left.chain?.id === right.chain?.id

/** The words by which bpftool finds a program that is to go behind ours. */
export function wordsFor(name: string, chain: ChainedProgram, live: Live): readonly [string, string] {
  const known = live.chains.get(name)
  if (known?.program.id === chain.id) return known.words
  const isAttached = live.links.get(name)?.programs.some(({ id }) => id === chain.id)
  return isAttached || chain.pin === undefined ? ['id', `${chain.id}`] : ['pinned', chain.pin]
}

/** Attach types of `bpftool net attach` and `detach`, by mode. */
export const ATTACH_TYPES = {
  native: 'xdpdrv',
  generic: 'xdpgeneric',
  offload: 'xdpoffload',
} as const satisfies Record<AttachMode, string>

/** How a program of libxdp goes behind ours all the same. */
export const withoutDispatcher = (name: string): string =>
  `load a single program without it: \`LIBXDP_SKIP_DISPATCHER=1 xdp-filter load ${name}\``

/** Why a program cannot go behind ours, and the remedy. */
function obstacle(
  name: string,
  program: AttachedProgram,
  modes: readonly AttachMode[],
): { readonly why: string; readonly hint: string } | undefined {
  const detach = `detach it: \`bpftool net detach ${ATTACH_TYPES[program.mode]} dev ${name}\``
  if (isLost(program)) {
    const why = 'its name is that of our program: it is of another --instance, or its pins were lost'
    return { why, hint: `if its pins were lost, replace it: \`xdp apply --reclaim\`; else ${detach}` }
  }
  if (isDispatcher(program)) {
    const why =
      "it is libxdp's dispatcher, whose programs extend it: most kernels let no other program call it then, and on the others those programs would get no packets"
    return { why, hint: `${withoutDispatcher(name)}; or ${detach}` }
  }
  if (program.mode === 'offload')
    return { why: 'it runs in the hardware of the card, where ours does not', hint: detach }
  if (modes.includes(program.mode)) return undefined
  const why = `it runs in ${program.mode} mode, and ours is to run in ${modes.join(' or ')} mode: the change would leave the interface without a program for a moment`
  return { why, hint: `write \`mode: ${program.mode}\` under interfaces.${name}, or ${detach}` }
}

/** Refuses programs on an interface that cannot go behind ours. */
export function guardChain(name: string, link: Link, desired: Desired, options: InterfaceOptions): Diagnostic[] {
  const found = others(link, options)
  const { modes = [] } = desired.state.interfaces.get(name) ?? {}
  const refuse = ({ id, name: called }: AttachedProgram, why: string, hint: string): Diagnostic => ({
    code: 'E255',
    severity: 'error',
    message: `program ${id}${called && ` ${called}`} on ${name} cannot run behind ours: ${why}`,
    hint,
    at: options.at,
  })
  const refused = found.flatMap((program) => {
    const met = obstacle(name, program, modes)
    return met === undefined ? [] : [refuse(program, met.why, met.hint)]
  })
  const [, second] = found
  if (refused.length > 0 || second === undefined) return refused
  const detach = `detach one of them: \`bpftool net detach ${ATTACH_TYPES[second.mode]} dev ${name}\``
  return [refuse(second, 'the interface runs another program besides, and only one can', detach)]
}

/** Refuses to end a program behind ours without `on_conflict: replace`. */
export function guardUnchain(name: string, live: Live, { at }: InterfaceOptions): Diagnostic[] {
  const next = live.chains.get(name)?.next
  const runsOurs = live.links.get(name)?.programs.some(({ generation }) => generation !== undefined)
  if (next === undefined || !runsOurs) return []
  const message = `${chainedText(next)} runs behind ours on ${name}, and \`on_conflict: fail\` permits no other program there`
  const hint =
    `to keep it, write \`on_conflict: chain\`; to end it, \`on_conflict: replace\`; to give it the interface back, ` +
    `remove ${name} from interfaces`
  return [{ code: 'E256', severity: 'error', message, hint, at }]
}
