// Network interfaces and every XDP program on them, from one `ip -j -d link`.

import type { Link } from '../model/live.ts'
import type { AttachMode } from '../model/state.ts'
import { runIp } from './ip.ts'

/** linux/if_link.h XDP_ATTACHED_*, as `ip -j` prints them. */
const MODES: Readonly<Record<number, AttachMode>> = { 1: 'native', 2: 'generic', 3: 'offload' }

/** A program on an interface as netlink reports it; whose it is and when it was loaded is not known there. */
export interface RawProgram {
  readonly id: number
  readonly mode: AttachMode
  readonly name: string
  readonly tag: string
}

export interface RawLink extends Omit<Link, 'programs'> {
  readonly programs: readonly RawProgram[]
}

interface IpProgram {
  readonly mode: number
  readonly prog?: { readonly id: number; readonly name?: string; readonly tag?: string }
}

interface IpLink {
  readonly ifname: string
  readonly ifindex: number
  readonly mtu: number
  readonly flags: readonly string[]
  readonly master?: string
  readonly linkinfo?: { readonly info_kind?: string }
  readonly xdp?: IpProgram & { readonly attached?: readonly IpProgram[] }
}

function programsOf(link: IpLink): RawProgram[] {
  const attached = link.xdp?.attached ?? (link.xdp ? [link.xdp] : [])
  return attached.flatMap(({ mode, prog }) => {
    const name = MODES[mode]
    return prog && name ? [{ id: prog.id, mode: name, name: prog.name ?? '', tag: prog.tag ?? '' }] : []
  })
}

/** Every interface of this process's network namespace, by name. */
export async function readLinks(): Promise<Map<string, RawLink>> {
  const links = ((await runIp('-d', 'link', 'show')) ?? []) as IpLink[]
  return new Map(
    links.map((link) => [
      link.ifname,
      {
        name: link.ifname,
        ifindex: link.ifindex,
        mtu: link.mtu,
        up: link.flags.includes('UP'),
        kind: link.flags.includes('LOOPBACK') ? 'loopback' : (link.linkinfo?.info_kind ?? 'physical'),
        master: link.master,
        programs: programsOf(link),
      },
    ]),
  )
}
