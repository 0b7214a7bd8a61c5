// Frames from layers: packet(ethernet(), vlan(7), ipv4({ source: '198.51.100.7' }), udp({ destination: 53 })). A layer
// takes the protocol number from the one behind it, and correct lengths unless a test sets wrong ones. Checksums stay
// zero: no parser here reads them. Addresses are those for documentation (RFC 5737, RFC 3849).

import { parseAddress } from '../../src/model/text.ts'

export interface Layer {
  /** Its number in an Ethernet header or VLAN tag. */
  readonly ethertype?: number
  /** Its number in an IP header. */
  readonly protocol?: number
  /** Bytes of the layer and of everything behind it. */
  readonly build: (payload: Uint8Array, next: Layer | undefined) => Uint8Array
}

/** RFC 3692: for experiments; the number of a payload without a protocol. */
export const EXPERIMENTAL = 253
/** IEEE local experimental ethertype. */
const LOCAL_ETHERTYPE = 0x88b5

export function packet(...layers: readonly Layer[]): Uint8Array {
  return layers.reduceRight<Uint8Array>((payload, layer, at) => layer.build(payload, layers[at + 1]), new Uint8Array())
}

function header(size: number, payload: Uint8Array, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size + payload.length)
  write(new DataView(bytes.buffer))
  bytes.set(payload, size)
  return bytes
}

function writeAddress(view: DataView, at: number, text: string): void {
  const address = parseAddress(text)
  if (!address) throw new Error(`${text} is not an address`)
  for (const [i, word] of address.words.entries()) view.setUint32(at + i * 4, word)
}

export const ethernet = ({
  type,
  destination = '02:00:00:00:00:00',
}: {
  readonly type?: number
  readonly destination?: string
} = {}): Layer => ({
  build: (payload, next) =>
    header(14, payload, (view) => {
      for (const [i, byte] of destination.split(':').entries()) view.setUint8(i, Number.parseInt(byte, 16))
      view.setUint8(6, 2)
      view.setUint8(11, 1)
      view.setUint16(12, type ?? next?.ethertype ?? LOCAL_ETHERTYPE)
    }),
})

/** An 802.1Q tag, or with `type` 0x88a8 an 802.1ad one. */
export const vlan = (id: number, { type = 0x8100 }: { readonly type?: number } = {}): Layer => ({
  ethertype: type,
  build: (payload, next) =>
    header(4, payload, (view) => {
      view.setUint16(0, id)
      view.setUint16(2, next?.ethertype ?? LOCAL_ETHERTYPE)
    }),
})

export interface Ipv4 {
  readonly source?: string
  readonly destination?: string
  /** Bytes of options, a multiple of 4. */
  readonly options?: number
  readonly identification?: number
  /** Fragment offset in units of 8 bytes. */
  readonly offset?: number
  readonly more?: boolean
  readonly protocol?: number
  readonly version?: number
  /** Header length field, in words. */
  readonly ihl?: number
  readonly totalLength?: number
  readonly ttl?: number
  readonly tos?: number
  readonly dontFragment?: boolean
}

export const ipv4 = (fields: Ipv4 = {}): Layer => ({
  ethertype: 0x0800,
  protocol: 4,
  build: (payload, next) => {
    const { source = '198.51.100.7', destination = '192.0.2.1', options = 0, offset = 0, version = 4 } = fields
    const size = 20 + options
    return header(size, payload, (view) => {
      view.setUint8(0, (version << 4) | (fields.ihl ?? size / 4))
      view.setUint8(1, fields.tos ?? 0)
      view.setUint16(2, fields.totalLength ?? size + payload.length)
      view.setUint16(4, fields.identification ?? 0)
      view.setUint16(6, (fields.dontFragment ? 0x4000 : 0) | (fields.more ? 0x2000 : 0) | offset)
      view.setUint8(8, fields.ttl ?? 64)
      view.setUint8(9, fields.protocol ?? next?.protocol ?? EXPERIMENTAL)
      writeAddress(view, 12, source)
      writeAddress(view, 16, destination)
      // No-operation options.
      for (let at = 20; at < size; at++) view.setUint8(at, 1)
    })
  },
})

export interface Ipv6 {
  readonly source?: string
  readonly destination?: string
  readonly next?: number
  readonly version?: number
  readonly payloadLength?: number
  readonly hopLimit?: number
  readonly trafficClass?: number
  readonly flowLabel?: number
}

export const ipv6 = (fields: Ipv6 = {}): Layer => ({
  ethertype: 0x86dd,
  protocol: 41,
  build: (payload, next) =>
    header(40, payload, (view) => {
      const { version = 6, trafficClass = 0, flowLabel = 0 } = fields
      view.setUint32(0, ((version << 28) | (trafficClass << 20) | flowLabel) >>> 0)
      view.setUint16(4, fields.payloadLength ?? payload.length)
      view.setUint8(6, fields.next ?? next?.protocol ?? EXPERIMENTAL)
      view.setUint8(7, fields.hopLimit ?? 64)
      writeAddress(view, 8, fields.source ?? '2001:db8::7')
      writeAddress(view, 24, fields.destination ?? '2001:db8:ffff::1')
    }),
})

export interface Extension {
  /** Total size in bytes: a multiple of 8, of 4 for AH. */
  readonly size?: number
  readonly next?: number
}

const extension =
  (protocol: number, unit: number) =>
  ({ size = unit === 4 ? 12 : 8, next: forced }: Extension = {}): Layer => ({
    protocol,
    build: (payload, next) =>
      header(size, payload, (view) => {
        view.setUint8(0, forced ?? next?.protocol ?? EXPERIMENTAL)
        view.setUint8(1, (size - 8) / unit)
      }),
  })

export const hopByHop = extension(0, 8)
export const routing = extension(43, 8)
export const destinationOptions = extension(60, 8)
export const ah = extension(51, 4)

export const fragment = ({
  offset = 0,
  more = false,
  next: forced,
  identification = 0,
}: {
  readonly offset?: number
  readonly more?: boolean
  readonly next?: number
  readonly identification?: number
} = {}): Layer => ({
  protocol: 44,
  build: (payload, next) =>
    header(8, payload, (view) => {
      view.setUint8(0, forced ?? next?.protocol ?? EXPERIMENTAL)
      // Reserved; a parser that read it as a length would fail.
      view.setUint8(1, 0xff)
      view.setUint16(2, (offset << 3) | (more ? 1 : 0))
      view.setUint32(4, identification)
    }),
})

export interface Ports {
  readonly source?: number
  readonly destination?: number
}

export const udp = ({
  source = 40000,
  destination = 40001,
  length,
}: Ports & { readonly length?: number } = {}): Layer => ({
  protocol: 17,
  build: (payload) =>
    header(8, payload, (view) => {
      view.setUint16(0, source)
      view.setUint16(2, destination)
      view.setUint16(4, length ?? 8 + payload.length)
    }),
})

/** RFC 9293 §3.1 */
export const SYN = 2
export const RST = 4
export const FIN = 1
export const ACK = 16

/** A TCP segment, with SYN unless `flags` are given. */
export const tcp = ({
  source = 40000,
  destination = 40001,
  flags = SYN,
  sequence = 0,
  acknowledged = 0,
  words = 5,
}: Ports & {
  readonly flags?: number
  readonly sequence?: number
  readonly acknowledged?: number
  /** The data offset field. */
  readonly words?: number
} = {}): Layer => ({
  protocol: 6,
  build: (payload) =>
    header(20, payload, (view) => {
      view.setUint16(0, source)
      view.setUint16(2, destination)
      view.setUint32(4, sequence)
      view.setUint32(8, acknowledged)
      view.setUint8(12, words << 4)
      view.setUint8(13, flags)
    }),
})

const icmpHeader =
  (protocol: number) =>
  (type: number, code = 0, rest = 0): Layer => ({
    protocol,
    build: (payload) =>
      header(8, payload, (view) => {
        view.setUint8(0, type)
        view.setUint8(1, code)
        view.setUint32(4, rest)
      }),
  })

export const icmp = icmpHeader(1)
export const icmpv6 = icmpHeader(58)

export const arp = (): Layer => ({
  ethertype: 0x0806,
  build: (payload) => header(28, payload, (view) => view.setUint16(0, 1)),
})

/** 46 bytes of a protocol with this ethertype, or with this length of an 802.3 frame. */
export const typed = (ethertype: number): Layer => ({ ...raw(46), ethertype })

/** Bytes without a protocol: given ones, or a number of zeros. */
export const raw = (bytes: Uint8Array | number = 0): Layer => ({
  build: (payload) => Uint8Array.from([...(typeof bytes === 'number' ? new Uint8Array(bytes) : bytes), ...payload]),
})

/** A frame padded with non-zero bytes, as a driver may leave them. */
export function padded(frame: Uint8Array, size: number): Uint8Array {
  const bytes = new Uint8Array(size).fill(0x35)
  bytes.set(frame.subarray(0, size))
  return bytes
}
