// Elements of `protect` as lines of an image (struct protected_prefix).

import type { ProtectedPrefix } from '../model/protect.ts'
import { PROTECTED_PROTOCOL, protectedPrefixCodec } from './generated.ts'

/** The words of an address and zeros behind them. */
const four = (words: Uint32Array): number[] => [0, 1, 2, 3].map((i) => words[i] ?? 0)

/** Writes an element as the line at `offset` of a view. */
export function encodeProtected(element: ProtectedPrefix, view: DataView, offset: number): void {
  const { prefix, protocol = PROTECTED_PROTOCOL.ANY, port } = element
  const { family, start, end } = prefix
  const number = protocol === 'icmp' ? PROTECTED_PROTOCOL.ICMP : protocol
  const only = port === undefined ? { port: 0, has_port: 0 } : { port, has_port: 1 }
  protectedPrefixCodec.encode({ first: four(start), last: four(end), family, protocol: number, ...only }, view, offset)
}

/** Reads the line at `offset`; undefined if it holds something else. */
export function decodeProtected(view: DataView, offset = 0): ProtectedPrefix | undefined {
  const { first, last, family, protocol, port, has_port } = protectedPrefixCodec.decode(view, offset)
  if (family !== 4 && family !== 6) return undefined
  const width = family === 4 ? 1 : 4
  return {
    prefix: { family, start: Uint32Array.from(first.slice(0, width)), end: Uint32Array.from(last.slice(0, width)) },
    protocol:
      protocol === PROTECTED_PROTOCOL.ANY ? undefined : protocol === PROTECTED_PROTOCOL.ICMP ? 'icmp' : protocol,
    port: has_port === 0 ? undefined : port,
    at: undefined,
  }
}
