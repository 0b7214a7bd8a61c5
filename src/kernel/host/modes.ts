// Why the kernel would not attach in a mode, told so that a person knows what to do about it.

import { fail, XdpError } from '../../diagnostics.ts'
import type { AttachMode } from '../../model/state.ts'
import { CommandError } from '../tools/spawn.ts'
import { type RawLink, readLinks } from './links.ts'

const EINVAL = 22
const ERANGE = 34
const EOPNOTSUPP = 95

/** Whether the failure means "not in this mode", so that the next mode of a list may be tried. */
export const refusesMode = ({ errno }: CommandError): boolean => [EINVAL, ERANGE, EOPNOTSUPP].includes(errno)

/** What usually is behind a refusal, from the errno and the kind of interface. */
function likelyCause(mode: AttachMode, errno: number, link: RawLink | undefined): string {
  if (mode === 'offload') return 'only a few SmartNICs take programs into their hardware'
  if (!link) return 'the interface does not exist'
  if (errno === ERANGE && link.kind === 'veth') return 'the MTU of the veth peer is too large'
  if (errno === ERANGE || errno === EINVAL)
    return `the driver may not take XDP at an MTU of ${link.mtu}, or with LRO on`
  if (link.kind !== 'physical') return `${link.kind} interfaces have no native XDP in this kernel`
  return 'the driver has no native XDP, or an offload (LRO, GRO_HW) is in its way: see ethtool -k'
}

/** E102 (exit 69): every mode of the list with the kernel's words, the likely cause, and the line that would permit generic. */
export async function explainAttachFailure(
  name: string,
  refusals: readonly { readonly mode: AttachMode; readonly error: CommandError }[],
): Promise<XdpError> {
  const link = (await readLinks()).get(name)
  const told = refusals.map(
    ({ mode, error }) => `${mode}: ${error.words || error.message} (${likelyCause(mode, error.errno, link)})`,
  )
  const modes = refusals.map(({ mode }) => mode)
  const permitted = [...modes, 'generic'].join(', ')
  const hint = modes.includes('generic')
    ? `run xdp doctor to see what ${name} supports`
    : `to permit the slower generic mode, write \`mode: [${permitted}]\` under ${name}`
  return new XdpError([
    {
      code: 'E102',
      severity: 'error',
      message: `${name} cannot be attached in ${modes.join(' or ')} mode: ${told.join('; ')}`,
      hint,
    },
  ])
}

/** E200 for a program that sits on the interface by a BPF link, which the kernel lets only its owner take away. */
export function explainHeld(error: unknown, name: string): unknown {
  if (!(error instanceof CommandError) || !error.words.includes('BPF XDP link')) return error
  const message = `the XDP program on ${name} is held by a BPF link: nobody but its owner can replace it`
  return fail('E200', message, 'stop what attached it, or find the link with `bpftool link show` and detach it', error)
}
