import fc from 'fast-check'
import { expect, test } from 'vitest'
import { packetFor } from '../../../src/abi/frame.ts'
import { explanationCodec, INTERFACE_FLAG } from '../../../src/abi/generated.ts'
import { explanationOf, factsFor, packetOf, type TestPacket, testInputFor } from '../../../src/abi/packet.ts'
import { parseAddress } from '../../../src/model/text.ts'
import { factsOf } from '../../support/model.ts'

const V4 = parseAddress('198.51.100.7')!
const V6 = parseAddress('2001:db8::7')!
const LOOPBACK4 = parseAddress('127.0.0.1')!
const LOOPBACK6 = parseAddress('::1')!

/** The Internet checksum over `bytes` and a pseudo header; 0 if the checksum inside is correct. */
function sum(bytes: Uint8Array, ...pseudo: readonly number[]): number {
  let total = pseudo.reduce((before, word) => before + word, 0)
  for (let at = 0; at < bytes.length; at += 2) total += ((bytes[at] as number) << 8) | (bytes[at + 1] ?? 0)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return ~total & 0xffff
}

const pseudo = (frame: Uint8Array, from: number, to: number, protocol: number, length: number): number[] => [
  ...Array.from({ length: (to - from) / 2 }, (_, i) => new DataView(frame.buffer).getUint16(from + i * 2)),
  protocol,
  length,
]

const probes: fc.Arbitrary<TestPacket> = fc
  .record({
    family: fc.constantFrom(4, 6),
    source: fc.uint32Array({ minLength: 4, maxLength: 4 }),
    destination: fc.option(fc.uint32Array({ minLength: 4, maxLength: 4 }), { nil: undefined }),
    protocol: fc.option(fc.oneof(fc.constant('icmp' as const), fc.constantFrom(6, 17), fc.nat(255)), {
      nil: undefined,
    }),
    sourcePort: fc.option(fc.nat(0xffff), { nil: undefined }),
    destinationPort: fc.option(fc.nat(0xffff), { nil: undefined }),
  })
  .map(({ family, source, destination, ...rest }) => {
    const address = (words: Uint32Array): TestPacket['source'] =>
      family === 4 ? { family: 4, words: words.slice(0, 1) } : { family: 6, words }
    return { ...rest, source: address(source), destination: destination && address(destination) }
  })

test('the facts of a probe equal those that the parser finds in its packet', () => {
  fc.assert(
    fc.property(probes, (probe) => {
      expect(factsOf(packetFor(probe))).toEqual(factsFor(probe))
    }),
  )
})

test('the group of essential packets follows from addresses, protocol and ports', () => {
  const group = (probe: TestPacket): unknown => {
    const facts = factsFor(probe)
    return facts.kind === 'ip' ? facts.essential : expect.unreachable()
  }
  for (const source of [V4, V6, LOOPBACK4, LOOPBACK6]) {
    for (const protocol of [undefined, 'icmp', 6, 17, 47] as const) expect(group({ source, protocol })).toBeUndefined()
  }
  expect(group({ source: LOOPBACK4, destination: LOOPBACK4 })).toBe('loopback')
  expect(group({ source: LOOPBACK6, destination: LOOPBACK6 })).toBe('loopback')
  expect(group({ source: V4, sourcePort: 67, destinationPort: 68 })).toBe('dhcp_client')
  expect(group({ source: V6, sourcePort: 547, destinationPort: 546 })).toBe('dhcp_client')
  expect(group({ source: V4, sourcePort: 68, destinationPort: 67 })).toBe('dhcp_server')
  expect(group({ source: V4, sourcePort: 67, destinationPort: 67 })).toBe('dhcp_server')
  expect(group({ source: V6, sourcePort: 546, destinationPort: 547 })).toBe('dhcp_server')
  expect(group({ source: V6, sourcePort: 547, destinationPort: 547 })).toBe('dhcp_server')
  expect(group({ source: V6, sourcePort: 67, destinationPort: 68 })).toBeUndefined()
  expect(group({ source: V4, protocol: 6, sourcePort: 67, destinationPort: 68 })).toBeUndefined()
})

test('lengths and checksums are correct', () => {
  fc.assert(
    fc.property(probes, (probe) => {
      const frame = packetFor(probe)
      const view = new DataView(frame.buffer)
      const isV4 = probe.source.family === 4
      const start = isV4 ? 34 : 54
      const protocol = frame[isV4 ? 23 : 20] as number
      const upper = frame.subarray(start)
      if (isV4) {
        expect(view.getUint16(16)).toBe(frame.length - 14)
        expect(sum(frame.subarray(14, 34))).toBe(0)
      } else {
        expect(view.getUint16(18)).toBe(upper.length)
      }
      const words = pseudo(frame, isV4 ? 26 : 22, start, protocol, upper.length)
      if (protocol === 6 || protocol === 17 || (!isV4 && protocol === 58)) expect(sum(upper, ...words)).toBe(0)
      if (isV4 && protocol === 1) expect(sum(upper)).toBe(0)
      if (protocol === 17) {
        expect(view.getUint16(start + 4)).toBe(upper.length)
        expect(view.getUint16(start + 6)).not.toBe(0)
      }
    }),
  )
})

test('a probe has the expected bytes', () => {
  const frame = packetFor({ source: V4, destination: parseAddress('192.0.2.1'), sourcePort: 53, destinationPort: 1234 })
  expect(Buffer.from(frame).toString('hex')).toBe(
    [
      ...['020000000001', '020000000002', '0800'],
      ...['4500', '001c', '0000', '0000', '4011', '8e95', 'c6336407', 'c0000201'],
      ...['0035', '04d2', '0008', '0e9b'],
    ].join(''),
  )
})

test('refuses a source and destination of different families', () => {
  expect(() => packetFor({ source: V4, destination: V6 })).toThrow(RangeError)
})

test('a packet has room for an explanation, which reads back', () => {
  for (const source of [V4, V6]) {
    const frame = packetFor({ source })
    const slots = { list: 3, scope: 0xffff, service: 1, backend: 2, rate_limit: 4 }
    const explanation = { verdict: 1, reason: 7, class: 0x12345678, ...slots, rate_used: 5 }
    expect(frame.length).toBeGreaterThanOrEqual(explanationCodec.size)
    explanationCodec.encode(explanation, new DataView(frame.buffer))
    expect(explanationOf(frame)).toEqual(explanation)
  }
})

test('a test run begins with the interface it stands for, and has the shape of the packets there', () => {
  const packet = { source: V4 }
  const frame = packetFor(packet)
  const arrival = { ifindex: 0x01020304, slot: 5, flags: 0 }
  const { data, context } = testInputFor(packet, arrival)
  expect(Buffer.from(data.subarray(0, 8)).toString('hex')).toBe('0403020105000000')
  expect(packetOf(data)).toEqual(frame)
  expect([...new Uint32Array(context.buffer)]).toEqual([8, data.length, 0, 0, 0, 0])
  const bare = testInputFor(packet, { ...arrival, flags: INTERFACE_FLAG.IP })
  expect(packetOf(bare.data)).toEqual(frame.subarray(14))
  expect(new Uint32Array(bare.context.buffer)[1]).toBe(data.length - 14)
})
