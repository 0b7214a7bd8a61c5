// The backends of a service: addresses or mappings → canonical backends, each with its place.

import type { Address } from '../../model/address.ts'
import { type Backend, backendKey, compareBackends, type Service } from '../../model/service.ts'
import { formatAddress } from '../../model/text.ts'
import { readUnicast } from '../entries/address.ts'
import { fieldOf, type Reading, reportAt } from '../text/place.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenBackend, WrittenService } from './written-services.ts'

/** What a backend must fit to. `vip` and `ports` are undefined where they have errors of their own. */
export interface Frame extends Pick<Service, 'forwarding'> {
  readonly vip: Address | undefined
  readonly ports: Service['ports'] | undefined
}

export interface ReadBackend {
  readonly backend: Backend
  readonly placed: Placed
  readonly written: WrittenBackend
}

/** Whether the service has one port, which `nat` can turn into another. */
const hasOnePort = ({ ports }: Frame): boolean => ports === undefined || ports.first === ports.last

function checkFamily(address: Address, placed: Placed, { vip, forwarding }: Frame, reading: Reading): void {
  if (vip === undefined || vip.family === address.family || forwarding === 'ipip' || forwarding === 'gue') return
  const [text, own] = [address, vip].map(({ family, words }) => formatAddress(family, words))
  const message = `${text} is IPv${address.family} and the VIP ${own} is IPv${vip.family}, which ${forwarding} cannot bridge`
  reportAt(reading, placed, 'E043', message, 'use backends of the family of the VIP, or forwarding: ipip or gue')
}

function checkPort(placed: Placed, frame: Frame, reading: Reading): void {
  const at = fieldOf(placed, 'port')
  if (frame.forwarding !== 'nat') {
    const message = `forwarding: ${frame.forwarding} leaves the port as it is, so a backend cannot have another`
    reportAt(reading, at, 'E046', message, 'remove the port, or use forwarding: nat')
  } else if (!hasOnePort(frame)) {
    const message = 'the service has several ports, so a backend cannot have another one'
    reportAt(reading, at, 'E046', message, 'remove the port: packets keep theirs')
  }
}

/** A backend or sorry backend; undefined after an error. */
export function readBackend(
  written: WrittenBackend,
  placed: Placed,
  frame: Frame,
  reading: Reading,
): Backend | undefined {
  const at = placed.fields?.get('address') ?? placed
  const address = readUnicast(written.address, at, 'the address of a backend', reading)
  if (written.port !== undefined) checkPort(placed, frame, reading)
  if (address === undefined) return undefined
  checkFamily(address, at, frame, reading)
  return {
    address,
    port: written.port,
    weight: written.weight ?? 1,
    state: written.state ?? 'active',
    nextHop: undefined,
  }
}

/** What makes two backends of a service the same: the port as packets have it. */
function targetKey(backend: Backend, { ports }: Frame): string {
  return backendKey({ address: backend.address, port: backend.port ?? ports?.first })
}

/** The backends of a service in canonical order. */
export function readBackends(
  { backends }: Pick<WrittenService, 'backends'>,
  placed: Placed,
  frame: Frame,
  reading: Reading,
): readonly ReadBackend[] {
  const items = placed.fields?.get('backends')?.items ?? []
  const first = new Map<string, Placed>()
  const read = items.flatMap((item, index): ReadBackend[] => {
    const given = backends[index] as string | WrittenBackend
    const written = typeof given === 'string' ? { address: given } : given
    const backend = readBackend(written, item, frame, reading)
    if (backend === undefined) return []
    const key = targetKey(backend, frame)
    const other = first.get(key)
    if (other !== undefined) {
      const message = `backend ${backendKey(backend)} stands twice in this service; the first is in line ${reading.source.lineOf(other.from)}`
      reportAt(reading, item, 'E044', message, 'remove one of them; `weight` says how much a backend takes')
      return []
    }
    first.set(key, item)
    return [{ backend, placed: item, written }]
  })
  return read.sort((left, right) => compareBackends(left.backend, right.backend))
}
