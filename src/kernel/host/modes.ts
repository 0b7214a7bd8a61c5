// Explains why the kernel refused to attach in a mode, and how to fix it.

import { fail, XdpError } from '../../diagnostics.ts'
import type { AttachMode } from '../../model/state.ts'
import { CommandError } from '../tools/spawn.ts'
import { type RawLink, readLinks } from './links.ts'

const EINVAL = 22
const ERANGE = 34
const EOPNOTSUPP = 95

/** Whether the failure means "not in this mode", so that apply may try the next mode of the list. */
export const refusesMode = ({ errno }: CommandError): boolean => [EINVAL, ERANGE, EOPNOTSUPP].includes(errno)

/** The usual cause of a refusal, by errno and kind of interface. */
function likelyCause(mode: AttachMode, errno: number, link: RawLink | undefined): string {
  if (mode === 'offload') return 'only a few SmartNICs run XDP programs in hardware'
  if (!link) return 'the interface does not exist'
  if (errno === ERANGE && link.kind === 'veth') return 'the MTU of the veth peer is too large'
  if (errno === ERANGE || errno === EINVAL) return `the driver may refuse XDP at MTU ${link.mtu}, or with LRO on`
  if (link.kind !== 'physical') return `${link.kind} interfaces have no native XDP in this kernel`
  return 'the driver has no native XDP, or an offload (LRO, GRO_HW) prevents it: see `ethtool -k`'
}

/** A cause that lies in the program, not in the driver. */
const LINEAR = '. Ours takes packets in one buffer here, because a program behind it does (`on_conflict: chain`)'

/** How to permit another mode than those that the kernel refused. */
function adviceOf(name: string, modes: readonly AttachMode[]): string {
  if (modes.includes('generic')) return `to see what ${name} supports, run \`xdp doctor\``
  const isTried = modes.includes('native')
  const permitted = [...modes, isTried ? 'generic' : 'native'].join(', ')
  return `to permit ${isTried ? 'the slower generic mode' : "the driver's native mode"}, write \`mode: [${permitted}]\` under ${name}`
}

/**
 * E102 (exit 69): the kernel's words and the likely cause for each mode, and the line of config that permits generic.
 *
 * @param isLinear whether our program takes packets in one buffer only
 */
export async function explainAttachFailure(
  name: string,
  refusals: readonly { readonly mode: AttachMode; readonly error: CommandError }[],
  isLinear = false,
): Promise<XdpError> {
  const link = (await readLinks()).get(name)
  const modes = refusals.map(({ mode }) => mode)
  const causes = refusals.map(({ mode, error }) => {
    const cause = `${error.words || error.message} (${likelyCause(mode, error.errno, link)})`
    return modes.length > 1 ? `${mode}: ${cause}` : cause
  })
  return new XdpError([
    {
      code: 'E102',
      severity: 'error',
      message: `cannot attach to ${name} in ${modes.join(' or ')} mode: ${causes.join('; ')}${isLinear ? LINEAR : ''}`,
      hint: adviceOf(name, modes),
    },
  ])
}

/** E200 for a program that a BPF link holds on the interface: the kernel lets only the owner of the link detach it. */
export function explainHeld(error: unknown, name: string): unknown {
  if (!(error instanceof CommandError) || !error.words.includes('BPF XDP link')) return error
  const message = `a BPF link holds the XDP program on ${name}, so only the owner of the link can replace it`
  return fail(
    'E200',
    message,
    'stop the process that attached it, or find the link with `bpftool link show` and detach it',
    error,
  )
}
