// The backends of a service, each an address or a mapping → canonical backends, each with its place.

import { FORWARDING_MODES, forwardingLines } from '../../features/forwarding/forwarding.ts'
import type { Address } from '../../model/address.ts'
import { type Backend, backendKey, compareBackends, onlyPort, type Service } from '../../model/service.ts'
import { formatAddress } from '../../model/text.ts'
import { readUnicast } from '../entries/address.ts'
import { fieldOf, type Reading, reportAt } from '../text/place.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenBackend, WrittenService } from './written-services.ts'

/** The part of a service that its backends must fit. `vip` and `ports` are undefined if they had errors. */
export interface Frame extends Pick<Service, 'forwarding'> {
  readonly vip: Address | undefined
  readonly ports: Service['ports'] | undefined
}

export interface ReadBackend {
  readonly backend: Backend
  readonly placed: Placed
  readonly written: WrittenBackend
}

const CROSSING = forwardingLines(({ crossesFamilies }) => crossesFamilies)

/** Whether the service has one port, which `nat` can translate to another. */
const hasOnePort = ({ ports }: Frame): boolean => ports === undefined || onlyPort({ ports }) !== undefined

function checkFamily(address: Address, placed: Placed, { vip, forwarding }: Frame, reading: Reading): void {
  if (vip === undefined || vip.family === address.family || FORWARDING_MODES[forwarding].crossesFamilies) return
  const [text, own] = [address, vip].map(({ family, words }) => formatAddress(family, words))
  const message = `${text} is IPv${address.family}, the VIP ${own} is IPv${vip.family}, and ${forwarding} cannot translate between them`
  reportAt(reading, placed, 'E043', message, `use IPv${vip.family} backends, or ${CROSSING}`)
}

function checkPort(placed: Placed, frame: Frame, reading: Reading): void {
  const at = fieldOf(placed, 'port')
  if (!FORWARDING_MODES[frame.forwarding].rewritesPort) {
    const message = `forwarding: ${frame.forwarding} does not change the port, so a backend cannot have a different one`
    reportAt(
      reading,
      at,
      'E046',
      message,
      `remove the port, or write ${forwardingLines(({ rewritesPort }) => rewritesPort)}`,
    )
  } else if (!hasOnePort(frame)) {
    const message = 'the service has several ports, so a backend cannot have a different one'
    reportAt(reading, at, 'E046', message, 'remove the port: packets keep their port')
  }
}

/** Advice about a backend with a port in its address. */
const portHint =
  ({ forwarding }: Frame) =>
  (address: string, port: number): string =>
    FORWARDING_MODES[forwarding].rewritesPort
      ? `write the port as a key of its own: \`{ address: ${address}, port: ${port} }\``
      : `write \`${address}\`: with ${forwarding} packets keep the port of the service`

/** A backend or sorry backend; undefined after an error. */
export function readBackend(
  written: WrittenBackend,
  placed: Placed,
  frame: Frame,
  reading: Reading,
): Backend | undefined {
  const at = placed.fields?.get('address') ?? placed
  const address = readUnicast(written.address, at, 'the address of a backend', reading, portHint(frame))
  if (written.port !== undefined) checkPort(placed, frame, reading)
  if (address === undefined) return undefined
  checkFamily(address, at, frame, reading)
  return {
    address,
    port: written.port,
    weight: written.weight ?? 1,
    state: written.state ?? 'active',
    backup: written.backup ?? false,
    mtu: written.mtu,
    nextHop: undefined,
  }
}

/** Equal for backends that receive the same packets: the address, and the port after translation. */
function targetKey(backend: Backend, { ports }: Frame): string {
  const port = backend.port ?? (ports && onlyPort({ ports }))
  return backendKey({ address: backend.address, port })
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
      const message = `backend ${backendKey(backend)} appears twice in this service; the first is on line ${reading.source.lineOf(other.from)}`
      reportAt(reading, item, 'E044', message, 'remove one of them; `weight` sets the share of a backend')
      return []
    }
    first.set(key, item)
    return [{ backend, placed: item, written }]
  })
  return read.sort((left, right) => compareBackends(left.backend, right.backend))
}
