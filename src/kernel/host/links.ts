// Network interfaces with all XDP programs on them, from one `ip -j -d link`.

import { anything, id, ifindex, list, optional, record, type ShapeOf, text, word } from '../../abi/answer.ts'
import type { Link } from '../../model/live.ts'
import type { AttachMode } from '../../model/state.ts'
import { askIp } from '../tools/ip.ts'

/** linux/if_link.h XDP_ATTACHED_*, as `ip -j` prints them. */
const MODES: Readonly<Record<number, AttachMode>> = { 1: 'native', 2: 'generic', 3: 'offload' }

/** A program on an interface as netlink reports it, without its owner and load time. */
export interface RawProgram {
  readonly id: number
  readonly mode: AttachMode
  readonly name: string
  readonly tag: string
}

export interface RawLink extends Omit<Link, 'programs'> {
  readonly programs: readonly RawProgram[]
}

const program = {
  mode: optional(word),
  prog: optional(record({ id, name: optional(text), tag: optional(text) })),
}

const link = record({
  ifname: text,
  ifindex,
  mtu: word,
  flags: list(text),
  master: optional(text),
  address: optional(text),
  link_type: optional(text),
  /** The device below, or the peer. */
  link: optional(text),
  linkinfo: optional(
    record({
      info_kind: optional(text),
      info_data: optional(
        record({
          protocol: optional(text),
          id: optional(anything),
          remote: optional(anything),
          external: optional(anything),
          mode: optional(anything),
          xmit_hash_policy: optional(anything),
        }),
      ),
    }),
  ),
  xdp: optional(record({ ...program, attached: optional(list(record(program))) })),
})

type IpLink = ShapeOf<typeof link>

function programsOf({ xdp }: IpLink): RawProgram[] {
  const attached = xdp?.attached ?? (xdp ? [xdp] : [])
  return attached.flatMap(({ mode, prog }) => {
    const name = MODES[mode ?? 0]
    return prog && name ? [{ id: prog.id, mode: name, name: prog.name ?? '', tag: prog.tag ?? '' }] : []
  })
}

const MAC = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/

/** `02:00:5e:10:00:01` as 12 hex digits; empty for any other text, such as the address of a tunnel. */
export const plainMac = (text: string | undefined): string =>
  text !== undefined && MAC.test(text) ? text.replaceAll(':', '') : ''

/** IEEE 802.1Q: 12 bits. */
const LAST_TAG = 0xfff

/** Tag and parent of a VLAN interface; undefined for 802.1ad, and for a parent in another namespace. */
function vlanOf({ link, linkinfo }: IpLink): Link['vlan'] {
  const { protocol = '802.1Q', id } = linkinfo?.info_data ?? {}
  if (linkinfo?.info_kind !== 'vlan' || link === undefined || protocol !== '802.1Q') return undefined
  // Other kinds have other values in this field.
  const isTag = typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= LAST_TAG
  if (!isTag) return undefined
  return { parent: link, tag: id }
}

/** Whether a GRE tunnel has no fixed remote end. One under `external` control takes it from routes. */
function isMultipoint({ linkinfo }: IpLink): boolean {
  const { remote, external } = linkinfo?.info_data ?? {}
  const isGre = linkinfo?.info_kind === 'gre' || linkinfo?.info_kind === 'ip6gre'
  return isGre && external !== true && (remote === undefined || remote === 'any')
}

function bondOf({ linkinfo }: IpLink): Link['bond'] {
  const { mode, xmit_hash_policy: policy } = linkinfo?.info_data ?? {}
  // Before version 5.17, ip prints no policy of modes that have none.
  if (linkinfo?.info_kind !== 'bond' || typeof mode !== 'string') return undefined
  return { mode, policy: typeof policy === 'string' ? policy : '' }
}

/** Every interface of this process's network namespace, by name. */
export async function readLinks(): Promise<Map<string, RawLink>> {
  const links = await askIp(list(link), '-d', 'link', 'show')
  return new Map(
    links.map((link) => [
      link.ifname,
      {
        name: link.ifname,
        ifindex: link.ifindex,
        mtu: link.mtu,
        mac: plainMac(link.address),
        vlan: vlanOf(link),
        below: link.link,
        up: link.flags.includes('UP'),
        kind: link.flags.includes('LOOPBACK') ? 'loopback' : (link.linkinfo?.info_kind ?? 'physical'),
        linkType: link.link_type ?? 'ether',
        isMultipoint: isMultipoint(link),
        master: link.master,
        bond: bondOf(link),
        programs: programsOf(link),
      },
    ]),
  )
}
