import { isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  formatAddress,
  formatRange,
  parseAddress,
  parsePrefix,
  parseRange,
  prefixLength,
} from '../../../src/model/text.ts'

const words = (...values: number[]): Uint32Array => Uint32Array.from(values)

describe('parseAddress', () => {
  test.each([
    ['0.0.0.0', [0]],
    ['192.0.2.1', [0xc0000201]],
    ['255.255.255.255', [0xffffffff]],
    ['::', [0, 0, 0, 0]],
    ['::1', [0, 0, 0, 1]],
    ['1::', [0x10000, 0, 0, 0]],
    ['2001:db8::1', [0x20010db8, 0, 0, 1]],
    ['2001:DB8:0:0:1:0:0:1', [0x20010db8, 0, 0x10000, 1]],
    ['1:2:3:4:5:6:7:8', [0x10002, 0x30004, 0x50006, 0x70008]],
    ['1:2:3:4:5:6:7::', [0x10002, 0x30004, 0x50006, 0x70000]],
    ['::2:3:4:5:6:7:8', [2, 0x30004, 0x50006, 0x70008]],
    ['::ffff:192.0.2.1', [0, 0, 0xffff, 0xc0000201]],
    ['64:ff9b::192.0.2.1', [0x64ff9b, 0, 0, 0xc0000201]],
    ['1:2:3:4:5:6:1.2.3.4', [0x10002, 0x30004, 0x50006, 0x01020304]],
  ])('reads %s', (text, expected) => {
    expect([...(parseAddress(text)?.words ?? [])]).toEqual(expected)
  })

  test.each([
    '',
    ' ',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.',
    '.1.2.3',
    '1..2.3',
    '256.0.0.1',
    '01.2.3.4',
    '1.2.3.04',
    '0x7f.0.0.1',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '1.2.3.4/8',
    '1.2.3.-4',
    '１.2.3.4',
    ':',
    ':::',
    '1:::2',
    '::1::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '1:',
    ':1',
    'g::',
    '12345::',
    'fe80::1%eth0',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.4:5',
    '1:2:3:4:5:6:7:1.2.3.4',
    '::01.2.3.4',
    '::ffff:1.2.3.256',
    '2001:db8::1/64',
    '[::1]',
    'a'.repeat(4096),
  ])('refuses %j', (text) => {
    expect(parseAddress(text)).toBeUndefined()
  })

  test('agrees with the system resolver’s rules on arbitrary text', () => {
    const text = fc.string({ unit: fc.constantFrom(...'0123456789abf:.:.%/ '), maxLength: 24 })
    fc.assert(
      fc.property(fc.oneof(text, fc.ipV4(), fc.ipV6(), fc.ipV4Extended()), (candidate) => {
        const family = parseAddress(candidate)?.family
        expect(family).toBe(isIPv4(candidate) ? 4 : isIPv6(candidate) && !candidate.includes('%') ? 6 : undefined)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('parsePrefix', () => {
  test('reads prefixes and single addresses', () => {
    expect(parsePrefix('10.0.0.0/8')).toEqual({
      family: 4,
      start: words(0x0a000000),
      end: words(0x0affffff),
      length: 8,
    })
    expect(parsePrefix('0.0.0.0/0')?.end).toEqual(words(0xffffffff))
    expect(parsePrefix('10.0.0.1')?.length).toBe(32)
    const v6 = parsePrefix('2001:db8::/33')
    expect(v6?.end).toEqual(words(0x20010db8, 0x7fffffff, 0xffffffff, 0xffffffff))
    expect(parsePrefix('::/0')?.end).toEqual(words(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff))
  })

  test.each([
    '10.0.0.1/8',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '::/129',
    '::1/127',
    '/8',
  ])('refuses %s', (text) => {
    expect(parsePrefix(text)).toBeUndefined()
  })
})

test('parseRange reads addresses, prefixes and ranges, and refuses ambiguous text', () => {
  expect(parseRange('192.0.2.1-192.0.2.9')).toEqual({ family: 4, start: words(0xc0000201), end: words(0xc0000209) })
  expect(parseRange('::1-::1')).toEqual({ family: 6, start: words(0, 0, 0, 1), end: words(0, 0, 0, 1) })
  expect(parseRange('192.0.2.0/24')?.end).toEqual(words(0xc00002ff))
  for (const text of ['192.0.2.9-192.0.2.1', '192.0.2.1-::1', '192.0.2.1-', '-192.0.2.1', '1.2.3.4-1.2.3.5-1.2.3.6'])
    expect(parseRange(text)).toBeUndefined()
})

describe('formatAddress', () => {
  // Examples of RFC 5952 §1, §4 and §5.
  test.each([
    ['2001:0db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8:AAAA::', '2001:db8:aaaa::'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['::ffff:c000:201', '::ffff:192.0.2.1'],
    ['0:1:0:1:0:1:0:1', '0:1:0:1:0:1:0:1'],
    ['192.0.2.1', '192.0.2.1'],
  ])('writes %s as %s', (text, expected) => {
    const { family, words: address } = parseAddress(text) ?? { family: 4, words: words() }
    expect(formatAddress(family, address)).toBe(expected)
  })

  const word = fc.oneof(fc.constantFrom(0, 1, 0xffff, 0x10000, 0xffffffff), fc.nat({ max: 0xffffffff }))

  test('formatted addresses read back, at any offset', () => {
    fc.assert(
      fc.property(fc.array(word, { minLength: 4, maxLength: 4 }), fc.nat({ max: 3 }), (address, offset) => {
        const padded = Uint32Array.from([...new Array<number>(offset).fill(7), ...address])
        expect([...(parseAddress(formatAddress(6, padded, offset))?.words ?? [])]).toEqual(address)
        expect(parseAddress(formatAddress(4, padded, offset))?.words[0]).toBe(padded[offset])
      }),
    )
  })

  test('formatRange picks the shortest exact form, and it reads back', () => {
    expect(formatRange(4, words(1, 0xc0000200), words(1, 0xc00002ff), 1)).toBe('192.0.2.0/24')
    expect(formatRange(4, words(0), words(0xffffffff))).toBe('0.0.0.0/0')
    expect(formatRange(4, words(5), words(5))).toBe('0.0.0.5')
    expect(formatRange(4, words(5), words(6))).toBe('0.0.0.5-0.0.0.6')
    expect(formatRange(6, words(0, 0, 0, 2), words(0, 0, 0, 3))).toBe('::2/127')
    expect(formatRange(6, words(0, 0, 0, 0), words(0, 0, 1, 0))).toBe('::-::1:0:0')
    fc.assert(
      fc.property(fc.array(word, { minLength: 4, maxLength: 4 }), fc.nat({ max: 128 }), (address, length) => {
        const prefix = parsePrefix(`${formatAddress(6, words(...address))}/128`)
        const masked = words(...address).map((value, at) => {
          const kept = Math.min(32, Math.max(0, length - at * 32))
          return kept === 0 ? 0 : value & (0xffffffff << (32 - kept))
        })
        expect(prefix?.length).toBe(128)
        const text = length === 128 ? formatAddress(6, masked) : `${formatAddress(6, masked)}/${length}`
        const parsed = parsePrefix(text)
        expect(parsed?.length).toBe(length)
        if (parsed) expect(formatRange(6, parsed.start, parsed.end)).toBe(text)
        if (parsed) expect(prefixLength(6, parsed.start, parsed.end)).toBe(length)
      }),
    )
  })
})
