// The interfaces to check, with facts from ip and ethtool. A "card" is an interface with these facts.

import { anything, list, optional, record, type ShapeOf, text, word } from '../../abi/answer.ts'
import type { Interrupt } from '../../drivers/interrupts.ts'
import type { Link } from '../../model/live.ts'
import type { AttachMode } from '../../model/state.ts'
import { isCheckDevice } from '../host/check-process.ts'
import { type Hardware, readHardware, UNKNOWN_HARDWARE } from '../host/ethtool.ts'
import type { RawLink } from '../host/links.ts'
import { askIp } from '../tools/ip.ts'
import { NO_DEVICE, readDevice } from './device.ts'

/** A program on an interface, with its owner if that is known. */
export interface CardProgram {
  readonly id: number
  readonly mode: AttachMode
  readonly name: string
  readonly owner: 'ours' | 'foreign' | 'unknown'
  /** The other instance of ours that owns it. */
  readonly instance: string | undefined
}

/** Facts of `ip -d link` that links.ts does not read. */
export interface Details {
  readonly carrier: boolean
  /** The interface below (VLAN) or the peer (veth), if it is in this namespace. */
  readonly lower: string | undefined
  /** `tap` or `tun`, the mode of a bond; undefined for other kinds. */
  readonly variant: string | undefined
  readonly rxQueues: number
  readonly txQueues: number
}

export interface Card extends Omit<Link, 'programs'>, Details {
  readonly hardware: Hardware
  readonly interrupts: readonly Interrupt[]
  /** Virtual functions that are made of it. */
  readonly virtualFunctions: number
  readonly programs: readonly CardProgram[]
}

const details = record({
  ifname: text,
  flags: list(text),
  link: optional(text),
  num_tx_queues: optional(word),
  num_rx_queues: optional(word),
  linkinfo: optional(record({ info_data: optional(record({ type: optional(anything), mode: optional(anything) })) })),
})

/** Other kinds have numbers or other words in these fields. */
const variantOf = ({ type, mode }: { readonly type?: unknown; readonly mode?: unknown }): string | undefined =>
  [type, mode].find((value) => typeof value === 'string') as string | undefined

/**
 * `ip -j -d link` → details by name. Reads the carrier from the flags, because many drivers leave operstate unknown.
 */
export function parseDetails(links: readonly ShapeOf<typeof details>[]): Map<string, Details> {
  return new Map(
    links.map((link) => [
      link.ifname,
      {
        carrier: !link.flags.includes('UP') || link.flags.includes('LOWER_UP'),
        lower: link.link,
        variant: variantOf(link.linkinfo?.info_data ?? {}),
        rxQueues: link.num_rx_queues ?? 0,
        txQueues: link.num_tx_queues ?? 0,
      },
    ]),
  )
}

export const readDetails = async (): Promise<Map<string, Details>> =>
  parseDetails(await askIp(list(details), '-d', 'link', 'show'))

const NO_DETAILS: Details = { carrier: true, lower: undefined, variant: undefined, rxQueues: 0, txQueues: 0 }

type AnyLink = Omit<RawLink, 'programs'>

/** A port of a bridge on a container host: there may be hundreds, and users rarely filter on them. */
const isPort = (link: AnyLink, links: ReadonlyMap<string, AnyLink>): boolean =>
  link.kind === 'veth' && link.master !== undefined && links.get(link.master)?.kind === 'bridge'

/**
 * Names to check: those of the config; without a config, interfaces that are up, except lo, veth ports of a bridge, and
 * devices of health checks.
 */
export function chooseNames(wanted: readonly string[], links: ReadonlyMap<string, AnyLink>): string[] {
  if (wanted.length > 0) return wanted.filter((name) => links.has(name))
  return [...links.values()]
    .filter((link) => link.up && link.kind !== 'loopback' && !isPort(link, links) && !isCheckDevice(link.name))
    .map(({ name }) => name)
}

/** Adds the interfaces that decide about native XDP on these: members of bonds and peers of veths. */
export function withRelatives(
  names: readonly string[],
  links: ReadonlyMap<string, AnyLink>,
  details: ReadonlyMap<string, Details>,
): string[] {
  const bonds = new Set(names.filter((name) => links.get(name)?.kind === 'bond'))
  const members = [...links.values()].filter(({ master }) => master !== undefined && bonds.has(master))
  const close = [...names, ...members.map(({ name }) => name)]
  const peers = close.flatMap((name) => {
    const peer = links.get(name)?.kind === 'veth' ? details.get(name)?.lower : undefined
    return peer !== undefined && links.has(peer) ? [peer] : []
  })
  return [...new Set([...close, ...peers])]
}

/** Every link as a card; runs ethtool only for `names`. */
export async function readCards(
  links: ReadonlyMap<string, AnyLink & { readonly programs: readonly CardProgram[] }>,
  names: readonly string[],
  ethtool: boolean,
): Promise<Map<string, Card>> {
  const details = await readDetails()
  const asked = ethtool ? withRelatives(names, links, details) : []
  const hardware = new Map(await Promise.all(asked.map(async (name) => [name, await readHardware(name)] as const)))
  const devices = await Promise.all(
    asked.map(async (name) => [name, await readDevice(hardware.get(name)?.bus)] as const),
  )
  const found = new Map(devices)
  return new Map(
    [...links].map(([name, link]) => [
      name,
      {
        ...link,
        ...(details.get(name) ?? NO_DETAILS),
        ...(found.get(name) ?? NO_DEVICE),
        hardware: hardware.get(name) ?? UNKNOWN_HARDWARE,
      },
    ]),
  )
}
