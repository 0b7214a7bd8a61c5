import { expect, test } from 'vitest'
import {
  CLASS_FLAG,
  CLASS_RULES,
  classCodec,
  directoryCodec,
  HEADER_LINES,
  LINE_SIZE,
  LIST_SLOTS,
  ruleCodec,
  SECTION,
  settingsCodec,
  TABLE_FLAG,
  table6Codec,
} from '../../../src/abi/generated.ts'
import type { XdpError } from '../../../src/diagnostics.ts'
import type { AddressSet } from '../../../src/model/address.ts'
import type { PortRange } from '../../../src/model/ports.ts'
import { EMPTY6, normalize } from '../../../src/model/ranges.ts'
import type { List, Scope, State } from '../../../src/model/state.ts'
import { editImage } from '../../../src/tables/image/edit.ts'
import { compileImage, decodeImage } from '../../../src/tables/image/image.ts'
import { DIRECTORY_LINE, imageBytes, imageFrom } from '../../../src/tables/layout/layout.ts'
import { listDigest } from '../../../src/tables/lines/digest.ts'
import { LOW } from '../../../src/tables/lines/lines.ts'
import {
  ALL4,
  ALL6,
  ANY,
  addresses,
  type BigRange,
  ImageReader,
  listOf,
  prefix,
  slotsOf,
  stateOf,
} from '../../support/tables.ts'

const META = { generation: 3, netns: 0xf0000000n, objectDigest: Uint8Array.from({ length: 16 }, (_, i) => i) }
const compile = (state: State, slots = slotsOf(state)): Uint8Array =>
  imageBytes(compileImage({ state, slots, meta: META }))
const decode = (bytes: Uint8Array) => decodeImage(imageFrom(bytes))
const blocked = (set: AddressSet, scope: Scope = ANY): State => stateOf([listOf('blocklist', 'some', [[scope, set]])])
const viewOf = (image: Uint8Array): DataView => new DataView(image.buffer, image.byteOffset, image.byteLength)
const settingsOf = (image: Uint8Array) => settingsCodec.decode(viewOf(image))
const linesOf = (image: Uint8Array, section: keyof typeof SECTION): number =>
  directoryCodec.decode(viewOf(image), DIRECTORY_LINE * LINE_SIZE).sections[SECTION[section]]?.extent.lines ?? 0

function errorOf(body: () => unknown): { code: string; message: string } {
  try {
    body()
  } catch (error) {
    const [diagnostic] = (error as XdpError).diagnostics
    return { code: diagnostic?.code ?? '', message: diagnostic?.message ?? '' }
  }
  throw new Error('nothing was thrown')
}

test('an empty state has a header and one class, without lists', () => {
  const image = compile(stateOf([]))
  expect(image.length).toBe((HEADER_LINES + 1) * LINE_SIZE)
  expect(settingsOf(image).table4.flags).toBe(0)
  expect(decode(image)).toMatchObject({ policy: { default: 'pass' }, drifted: [] })
})

test('the meta line holds the given facts, and no commit time', () => {
  const { meta } = decode(compile(stateOf([], 'drop')))
  expect(meta).toMatchObject({ generation: 3n, netns: META.netns, committed_at: 0n, object_digest: META.objectDigest })
})

test('keeps a list without addresses, and lists of equal content', () => {
  const same = addresses([[1n, 9n]])
  const state = stateOf([
    listOf('allowlist', 'empty', []),
    listOf('blocklist', 'one', [[ANY, same]]),
    listOf('blocklist', 'two', [[ANY, same]]),
  ])
  expect(decode(compile(state)).lists).toEqual(state.lists)
})

test('single IPv4 addresses take no range table, and a wide range takes no hash', () => {
  const hosts = compile(
    blocked(
      addresses([
        [1n, 1n],
        [7n, 7n],
        [ALL4, ALL4],
      ]),
    ),
  )
  expect(settingsOf(hosts).table4.flags).toBe(TABLE_FLAG.HOSTS)
  expect(hosts.length).toBeLessThan(4096)
  const all = compile(blocked(addresses([[0n, ALL4]])))
  expect(settingsOf(all).table4.flags).toBe(TABLE_FLAG.RANGES)
  expect([linesOf(all, 'HOSTS4'), linesOf(all, 'RANGES4')]).toEqual([0, 0])
})

test('an address of another class does not split the prefix around it', () => {
  const state = stateOf([
    listOf('blocklist', 'net', [[ANY, addresses([prefix(4, 0x0a000000n, 8)])]]),
    // The first and the last address too: there, the gap has only one listed neighbour.
    listOf('blocklist', 'hosts', [
      [ANY, addresses([0x0a000000n, 0x0a123456n, 0x0affffffn].map((a): BigRange => [a, a]))],
    ]),
  ])
  const image = compile(state)
  expect(linesOf(image, 'RANGES4')).toBe(0)
  expect(decode(image).lists).toEqual(new Map([...state.lists].sort(([a], [b]) => (a < b ? -1 : 1))))
})

test('a gap or another class at any depth does not split an IPv6 prefix', () => {
  const base = 0x20010db8n << 96n
  const state = stateOf([
    listOf('blocklist', 'net', [[ANY, addresses([], [prefix(6, base, 32), prefix(6, base + (2n << 96n), 48)])]]),
    listOf('allowlist', 'holes', [
      [
        ANY,
        addresses([], [prefix(6, base, 128), prefix(6, base + (1n << 64n), 64), prefix(6, base + (5n << 80n), 48)]),
      ],
    ]),
  ])
  const image = compile(state)
  const { flags } = table6Codec.decode(viewOf(image), LINE_SIZE)
  expect(flags).toBe(TABLE_FLAG['32'] | TABLE_FLAG['48'] | TABLE_FLAG['64'])
  // Only the /64 with one address of another class needs a tree.
  expect(linesOf(image, 'TREES6')).toBe(1)
  const reader = new ImageReader(image)
  const parts = (address: bigint): number[] => reader.parts(reader.lookup(6, address))
  expect([base - 1n, base, base + 1n, base + (1n << 64n), base + (2n << 64n)].map(parts)).toEqual([
    [],
    [0, 1],
    [1],
    [0, 1],
    [1],
  ])
  expect([base + (5n << 80n), base + (2n << 96n), base + (2n << 96n) + (1n << 80n)].map(parts)).toEqual([
    [0, 1],
    [1],
    [],
  ])
})

test('reads trees of many levels to the bottom', () => {
  const base = 0xfd00n << 112n
  const many = (count: number, shift: bigint): BigRange[] =>
    Array.from({ length: count }, (_, i) => [base + (BigInt(i * 3) << shift), base + (BigInt(i * 3 + 1) << shift)])
  for (const pairs of [many(2000, 0n), many(2000, 68n), many(300, 84n)]) {
    const state = blocked(addresses([], pairs))
    expect(decode(compile(state)).lists).toEqual(state.lists)
  }
})

test('a hash grows until every key has a place, if no multiplier spreads the keys', () => {
  // Addresses that the first multiplier maps to one bucket of their smallest table.
  const multiplier = 0x9e3779b97f4a7c15n
  const count = 200
  const buckets = BigInt(Math.ceil(count / 6))
  const crowd: BigRange[] = []
  for (let address = 1n; crowd.length < count; address += 7n) {
    const hash = ((address * multiplier) & 0xffffffffffffffffn) >> 32n
    if ((hash * buckets) >> 32n === 5n) crowd.push([address, address])
  }
  const state = blocked(addresses(crowd))
  const image = compile(state)
  expect(settingsOf(image).table4.multiplier).not.toBe(multiplier)
  expect(decode(image).lists).toEqual(state.lists)
})

test('a class has its allowlist rules first, with the counters and scopes of its lists', () => {
  const ports = (...ranges: number[][]): PortRange[] => ranges.map(([first, last]) => ({ first, last }) as PortRange)
  const state = stateOf([
    listOf('blocklist', 'a', [
      [
        { protocol: 17, sourcePorts: ports([53, 53], [123, 123]), destinationPorts: ports([1024, 65535]) },
        addresses([[5n, 5n]]),
      ],
    ]),
    listOf('allowlist', 'b', [[{ ...ANY, protocol: 'icmp' }, addresses([[5n, 5n]])]]),
  ])
  const lists = new Map([
    ['a', 8],
    ['b', 2],
  ])
  const image = compile(state, { ...slotsOf(state), lists })
  const { rules } = settingsOf(image)
  const decoded = [0, 1, 2].map((i) => ruleCodec.decode(viewOf(image), rules * LINE_SIZE + i * ruleCodec.size))
  const any = { source_first: 0, source_last: 65535, destination_first: 0, destination_last: 65535 }
  expect(decoded).toEqual([
    { list: 2, scope: 1, flags: 3, protocol4: 1, protocol6: 58, interfaces: 0, ...any },
    ...[53, 123].map((port) => ({
      list: 8,
      scope: 0,
      flags: 30,
      protocol4: 17,
      protocol6: 17,
      interfaces: 0,
      source_first: port,
      source_last: port,
      destination_first: 1024,
      destination_last: 65535,
    })),
  ])
})

/** The field `plain` of every class. */
function plainOf(image: Uint8Array): number[] {
  const { classes } = settingsOf(image)
  const at = (number: number): number => classes * LINE_SIZE + number * classCodec.size
  const { class_count } = decode(image).meta
  return Array.from({ length: class_count }, (_, number) => classCodec.decode(viewOf(image), at(number)).plain)
}

const PLAIN: State = stateOf([
  listOf('allowlist', 'a', [[ANY, addresses([[1n, 1n]], [[1n, 9n]])]]),
  listOf('blocklist', 'b', [
    [
      ANY,
      addresses([
        [1n, 1n],
        [3n, 3n],
      ]),
    ],
  ]),
  listOf('blocklist', 'c', [[{ ...ANY, protocol: 17 }, addresses([[5n, 5n]])]]),
])
const ON_SLOTS = {
  ...slotsOf(PLAIN),
  lists: new Map([
    ['a', 7],
    ['b', 1023],
    ['c', 0],
  ]),
}

test('a class is plain if its only rule matches every packet, and then names its list', () => {
  const image = compile(PLAIN, ON_SLOTS)
  const { PLAIN: plain, ALLOW: allow } = CLASS_FLAG
  // In no list; in two lists; in one of either kind; with a scope.
  expect(plainOf(image).sort((a, b) => a - b)).toEqual([0, 0, 0, plain | 1023, plain | allow | 7])
  const reader = new ImageReader(image)
  const of = (family: 4 | 6, address: bigint): number | undefined => plainOf(image)[reader.lookup(family, address)]
  expect([of(4, 0n), of(4, 1n), of(4, 3n), of(4, 5n), of(6, 2n)]).toEqual([0, 0, plain | 1023, 0, plain | allow | 7])
})

/** The image as versions before the field wrote it. */
function unmarked(image: Uint8Array): Uint8Array {
  const old = image.slice()
  const { classes } = settingsOf(old)
  for (let number = 0; number < 5; number++) {
    const at = classes * LINE_SIZE + number * classCodec.size
    viewOf(old).setUint16(at + classCodec.offsets.plain, 0, LOW === 0)
  }
  return old
}

test('reads images without plain classes, and an edit marks them', () => {
  const image = compile(PLAIN, ON_SLOTS)
  const old = unmarked(image)
  expect(decode(old)).toMatchObject({ lists: decode(image).lists, drifted: [] })
  const edited = editImage({
    state: PLAIN,
    slots: ON_SLOTS,
    meta: META,
    previous: imageFrom(old),
    toggles: [],
    always: true,
  })
  expect(edited && plainOf(imageBytes(edited))).toEqual(plainOf(image))
})

test('reports drift of a list whose class is plain, and judged by another list or kind than its rule says', () => {
  const image = compile(blocked(addresses([[77n, 77n]])))
  const { classes } = settingsOf(image)
  const at = classes * LINE_SIZE + classCodec.size + classCodec.offsets.plain
  const changed = (bits: number) => {
    const other = image.slice()
    viewOf(other).setUint16(at, viewOf(image).getUint16(at, LOW === 0) ^ bits, LOW === 0)
    return decode(other)
  }
  const { drifted, lists, recordedLists } = changed(CLASS_FLAG.ALLOW)
  expect(drifted).toEqual(['list:some'])
  const applied = decode(image).lists.get('some') as List
  expect(recordedLists).toEqual(new Map([['some', listDigest(applied)]]))
  expect(lists.get('some')?.kind).toBe('allowlist')
  expect(errorOf(() => changed(5)).code).toBe('E113')
})

test('refuses a state beyond the limits of the tables, with the cause and the address', () => {
  const lists = Array.from({ length: LIST_SLOTS + 1 }, (_, i) => listOf('blocklist', `list-${i}`, []))
  expect(errorOf(() => compile(stateOf(lists))).code).toBe('E203')

  const odd = Array.from({ length: 17 }, (_, i) => ({ first: i * 2 + 1, last: i * 2 + 1 }))
  const scope: Scope = { protocol: 6, sourcePorts: odd, destinationPorts: odd.slice(1) }
  const rules = errorOf(() => compile(blocked(addresses([prefix(4, 0x0a000000n, 8)]), scope)))
  expect(rules.code).toBe('E204')
  expect(rules.message).toContain(`${17 * 16} rules apply to 10.0.0.0`)
  expect(() => compile(blocked(addresses([[9n, 9n]]), { ...scope, sourcePorts: odd.slice(1) }))).not.toThrow()
  expect(16 * 16).toBe(CLASS_RULES)

  // 17 lists in all combinations: 131,071 classes.
  const bits = Array.from({ length: 17 }, (_, bit) => {
    const members = Uint32Array.from({ length: 1 << 17 }, (_, i) => i).filter((i) => ((i >> bit) & 1) === 1)
    return listOf('blocklist', `bit-${bit}`, [[ANY, { v4: normalize(4, members, members), v6: EMPTY6 }]])
  })
  expect(errorOf(() => compile(stateOf(bits)))).toMatchObject({
    code: 'E202',
    message: expect.stringContaining('65535'),
  })
  const fits = bits.slice(0, 16)
  expect(decode(compile(stateOf(fits))).lists.size).toBe(16)
})

test('reports drift by object: the list, the policy, or both', () => {
  const state = stateOf([
    listOf('blocklist', 'hosts', [[ANY, addresses([[77n, 77n]])]]),
    listOf('blocklist', 'nets', [[ANY, addresses([prefix(4, 0xc0000200n, 24)], [[0n, ALL6]])]]),
  ])
  const changed = (change: (image: Uint8Array, settings: ReturnType<typeof settingsOf>) => void): readonly string[] => {
    const image = compile(state)
    change(image, settingsOf(image))
    return decode(image).drifted
  }
  expect(changed(() => {})).toEqual([])
  expect(changed((image) => viewOf(image).setUint32(settingsCodec.offsets.flags, 1, true))).toEqual(['policy'])
  // An entry that the filter hides does not apply to packets either.
  expect(
    changed((image, { table4 }) => image.fill(0, table4.host_filter * LINE_SIZE, (table4.host_filter + 1) * LINE_SIZE)),
  ).toEqual(['list:hosts'])
  expect(
    changed((image, { table4 }) => image.fill(0, table4.hosts * LINE_SIZE, table4.range_filter * LINE_SIZE)),
  ).toEqual(['list:hosts'])
  expect(
    changed((image, { table4 }) => image.fill(0, table4.range_filter * LINE_SIZE, table4.root * LINE_SIZE)),
  ).toEqual(['list:nets'])
  expect(changed((image, { table4 }) => image.fill(0, table4.root * LINE_SIZE, table4.ranges * LINE_SIZE))).toEqual([
    'list:nets',
  ])
  // A rule changed so that its list passes packets.
  expect(
    changed((image, { rules }) => {
      const at = rules * LINE_SIZE + ruleCodec.offsets.flags
      image[at] = 1
    }),
  ).toEqual(['list:hosts'])
})

test('refuses an image that is truncated, of another ABI or without its sections', () => {
  const image = compile(
    blocked(
      addresses(
        [
          [1n, 5n],
          [9n, 9n],
        ],
        [[1n, 1n]],
      ),
    ),
  )
  for (const length of [0, LINE_SIZE, HEADER_LINES * LINE_SIZE, image.length - LINE_SIZE]) {
    expect(errorOf(() => decode(image.slice(0, length))).code).toBe('E113')
  }
  const other = image.slice()
  viewOf(other).setUint32(0, 99, true)
  expect(errorOf(() => decode(other)).message).toContain('ABI version 99')
})

test('reads an image at any alignment', () => {
  const state = blocked(
    addresses(
      [
        [1n, 5n],
        [9n, 9n],
      ],
      [[1n, 1n]],
    ),
  )
  const image = compile(state)
  const shifted = new Uint8Array(image.length + 3)
  shifted.set(image, 3)
  expect(decode(shifted.subarray(3)).lists).toEqual(state.lists)
})
