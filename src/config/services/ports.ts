// `port` and `protocol` of a service: one value or a list → canonical ranges and names.

import { PORT_RANGES } from '../../model/limits.ts'
import { formatPorts, type PortRange, type TransportProtocol } from '../../model/ports.ts'
import { ANY_PORT } from '../../model/service.ts'
import { type Reading, reportAt } from '../text/place.ts'
import { quote } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenService } from './written-services.ts'

/** A port or range; undefined after an error. */
function readRange(port: number | string, placed: Placed, reading: Reading): PortRange | undefined {
  if (typeof port === 'number') return { first: port, last: port }
  const [first = 0, last = 0] = port.split('-').map(Number)
  if (first >= 1 && first <= last && last <= 0xffff) return { first, last }
  const isReversed = first > last && last >= 1 && first <= 0xffff
  const message = isReversed ? 'ends before it starts' : 'names a port outside 1 to 65535'
  const hint = isReversed ? `write "${last}-${first}"` : 'ports go from 1 to 65535'
  reportAt(reading, placed, 'E028', `the port range ${quote(port)} ${message}`, hint)
  return undefined
}

interface Read {
  readonly range: PortRange
  readonly placed: Placed
}

/** Reports a range that has a port in common with an earlier one of the list. */
function reportRepeated({ range, placed }: Read, earlier: readonly Read[], reading: Reading): void {
  const other = earlier.find((one) => one.range.first <= range.last && range.first <= one.range.last)
  if (other === undefined) return
  const [text, first] = [formatPorts(range), formatPorts(other.range)]
  const line = reading.source.lineOf(other.placed.from)
  const message =
    text === first
      ? `port ${text} appears twice in this service; the first is on line ${line}`
      : `${text} has ports in common with ${first} on line ${line}`
  reportAt(reading, placed, 'E222', message, 'name each port once')
}

/** The ports of a service, ascending; undefined after an error. */
export function readPorts(
  port: WrittenService['port'],
  placed: Placed,
  reading: Reading,
): readonly PortRange[] | undefined {
  if (port === 'any') return [ANY_PORT]
  const written = typeof port === 'object' ? port : [port]
  if (written.length > PORT_RANGES) {
    const message = `the list has ${written.length} ports and ranges; a service can have ${PORT_RANGES}`
    reportAt(reading, placed, 'E028', message, 'combine adjacent ports into ranges, or divide the service')
    return undefined
  }
  const read = written.flatMap((one, index): Read[] => {
    const at = placed.items?.[index] ?? placed
    const range = readRange(one, at, reading)
    return range ? [{ range, placed: at }] : []
  })
  for (const [index, one] of read.entries()) reportRepeated(one, read.slice(0, index), reading)
  if (read.length < written.length) return undefined
  return read.map(({ range }) => range).sort((left, right) => left.first - right.first)
}

/** The protocols of a service, TCP first. */
export function readProtocols(protocol: WrittenService['protocol']): readonly TransportProtocol[] {
  return typeof protocol === 'object' ? [...protocol].sort() : [protocol]
}
