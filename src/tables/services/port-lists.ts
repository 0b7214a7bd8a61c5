// The ports of services with several ranges, behind the records of services: a line for each, in the order of slots. The
// data plane finds ports in the trees of endpoints alone; these lines keep them as written.

import { LINE_SIZE, PORT_RANGES, portListCodec } from '../../abi/generated.ts'
import type { PortRange } from '../../model/ports.ts'
import type { Service } from '../../model/service.ts'
import { corrupt, makeLines } from '../lines/lines.ts'
import { rangesOf } from './service-lines.ts'

/** Numbers, and zeros behind them. */
const padded = (numbers: readonly number[]): number[] => Array.from({ length: PORT_RANGES }, (_, i) => numbers[i] ?? 0)

/** The lines of services in the order of their slots. Throws RangeError for too many ranges: a bug of the config's reader. */
export function encodePortLists(services: readonly Pick<Service, 'ports'>[]): Uint32Array {
  const listed = services.filter((service) => rangesOf(service) > 0)
  const words = makeLines(listed.length)
  const view = new DataView(words.buffer)
  for (const [i, { ports }] of listed.entries()) {
    if (ports.length > PORT_RANGES) throw new RangeError(`${ports.length} port ranges`)
    const [first, last] = [ports.map((range) => range.first), ports.map((range) => range.last)]
    portListCodec.encode({ first: padded(first), last: padded(last) }, view, i * LINE_SIZE)
  }
  return words
}

/** The ranges of a line. Throws XdpError E113 if it is damaged. */
export function portsIn(records: DataView, line: number, ranges: number): readonly PortRange[] {
  if (ranges > PORT_RANGES || (line + 1) * LINE_SIZE > records.byteLength) throw corrupt('the ports of a service')
  const { first, last } = portListCodec.decode(records, line * LINE_SIZE)
  return Array.from({ length: ranges }, (_, i) => ({ first: first[i] as number, last: last[i] as number }))
}
