// Multi-buffer packets, the interface index, long classes, and invalid images.

import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  CLASS_RULES,
  classCodec,
  explanationCodec,
  INTERFACE_FLAG,
  INTERFACE_INDEX_SIZE,
  INTERFACE_PROBES,
  interfaceEntryCodec,
  LINE_SIZE,
  settingsCodec,
} from '../../src/abi/generated.ts'
import { NONE } from '../../src/abi/packet.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { judge } from '../../src/semantics/judge.ts'
import { DataPlane, imageOf, slotsOf, TEST_IFINDEX } from '../support/bpf.ts'
import { ANY, allow, block, policy, scope } from '../support/lists.ts'
import { factsOf } from '../support/model.ts'
import {
  destinationOptions,
  ethernet,
  hopByHop,
  ipv4,
  ipv6,
  type Layer,
  packet,
  raw,
  tcp,
  udp,
  vlan,
} from '../support/packets.ts'
import { balancing, service } from '../support/services.ts'

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

const BLOCKED = policy(
  'drop',
  block('blocked', '198.51.100.0/24 2001:db8::/64'),
  block('dns', ['203.0.113.0/24 2001:db8:1::/64', scope(17, { source: [53] })]),
)
/**
 * Linear bytes of a test packet: a 4 KiB page minus 256 of headroom and 320 of tailroom, in kernels with 4 KiB pages.
 */
const LINEAR = 3520
const SLOT = 3

const reasonOf = async (frame: Uint8Array): Promise<unknown> =>
  (await plane.run([{ frame }])).map(({ explanation }) => explanation?.reason)[0]

test('a multi-buffer packet is judged like any other and counts all of its bytes', async () => {
  await plane.loadState(BLOCKED)
  await plane.reset(SLOT, [0, 1])
  await plane.attachTestRuns(SLOT)
  const jumbo = packet(ethernet(), vlan(7), ipv4(), udp(), raw(8950))
  const reply = packet(ethernet(), ipv6({ source: '2001:db8:1::5' }), udp({ source: 53 }), raw(5000))
  const outcomes = await plane.run([{ frame: jumbo }, { frame: reply }], 'filter')
  expect(outcomes.map(({ verdict }) => verdict)).toEqual(['drop', 'drop'])
  const bytes = jumbo.length + reply.length
  expect(await plane.reasons(SLOT)).toEqual({ blocklist: { packets: 2, bytes } })
  expect(await plane.lists([0, 1])).toEqual([
    { packets: 1, bytes: jumbo.length },
    { packets: 1, bytes: reply.length },
  ])
  await plane.attachTestRuns(0)
})

test('headers split from their payload: every byte of the datagram counts', async (context) => {
  await plane.loadState(BLOCKED)
  if (!(await plane.canSplit())) context.skip('this kernel cannot choose the linear part of a test packet')
  const frames = [
    packet(ethernet(), ipv4(), udp(), raw(1400)),
    packet(ethernet(), ipv6({ source: '2001:db8:9::1' }), tcp(), raw(1)),
    packet(ethernet(), raw(1400)),
    packet(ethernet(), vlan(1), vlan(2), vlan(3), ipv4(), udp(), raw(1400)),
  ]
  for (const linear of [64, 74]) {
    await plane.reset(SLOT, [0, 1])
    await plane.attachTestRuns(SLOT)
    await plane.run(
      frames.map((frame) => ({ frame, linear })),
      'filter',
    )
    await plane.attachTestRuns(0)
    const counts = Object.values(await plane.reasons(SLOT))
    expect(counts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(frames.reduce((sum, { length }) => sum + length, 0))
  }
})

test('a header beyond the linear part is read where it lies', async () => {
  await plane.loadState(BLOCKED)
  const listed = { source: '2001:db8::7' }
  const scoped = { source: '2001:db8:1::7' }
  const options = [hopByHop({ size: 2048 }), destinationOptions({ size: 2048 })]
  // Ethernet, IPv6 and 2048 bytes of options are 2102; TCP at 3510 straddles the end, UDP there does not.
  const straddling = [hopByHop({ size: 2048 }), destinationOptions({ size: LINEAR - 10 - 2102 })]
  const frames = [
    [packet(ethernet(), ipv6(listed), ...options, udp()), 'blocklist'],
    [packet(ethernet(), ipv6(scoped), ...options, udp({ source: 53 })), 'blocklist'],
    [packet(ethernet(), ipv6(scoped), ...options, udp({ source: 54 })), 'default-drop'],
    [packet(ethernet(), ipv6(scoped), ...options, udp()).subarray(0, -3), 'malformed-drop'],
    [packet(ethernet(), ipv6(scoped), ...straddling, tcp(), raw(600)), 'default-drop'],
    [packet(ethernet(), ipv6(listed), ...straddling, tcp(), raw(600)), 'blocklist'],
    [packet(ethernet(), ipv6(scoped), ...straddling, udp({ source: 53 }), raw(600)), 'blocklist'],
    [packet(ethernet(), ipv6(scoped), ...straddling, udp({ source: 54 }), raw(600)), 'default-drop'],
  ] as const
  for (const [frame, reason] of frames) {
    expect(judge(BLOCKED, factsOf(frame)).reason).toBe(reason)
    expect(await reasonOf(frame)).toBe(reason)
  }
})

/** A datagram of more than 64 KiB, whose header has no room for its length, and one with such a header that is smaller. */
const LARGE = 66_000
const SMALL = 65_000

test('a datagram beyond 64 KiB without a length in its header is judged like any other', async () => {
  await plane.loadState(BLOCKED)
  const large4 = (source: string, size: number, port = 54): Uint8Array =>
    packet(ethernet(), ipv4({ source, totalLength: 0 }), udp({ source: port }), raw(size))
  const large6 = (source: string, size: number, port = 54): Uint8Array =>
    packet(ethernet(), ipv6({ source, payloadLength: 0 }), udp({ source: port }), raw(size))
  const frames = [
    [large4('198.51.100.7', LARGE), 'blocklist'],
    [large4('203.0.113.7', LARGE, 53), 'blocklist'],
    [large4('192.0.2.7', LARGE), 'default-drop'],
    [large4('192.0.2.7', SMALL), 'malformed-drop'],
    [large6('2001:db8::7', LARGE), 'blocklist'],
    [large6('2001:db8:1::7', LARGE, 53), 'blocklist'],
    [large6('2001:db8:9::7', LARGE), 'default-drop'],
    [large6('2001:db8:9::7', SMALL), 'malformed-drop'],
  ] as const
  for (const [frame, reason] of frames) {
    expect(judge(BLOCKED, factsOf(frame)).reason).toBe(reason)
    expect(await reasonOf(frame)).toBe(reason)
  }
})

/** A service of both families, behind a filter. */
const SERVED = balancing(
  [
    service('web', '192.0.2.10 443', { backends: ['10.0.0.11'] }),
    service('web6', '2001:db8:f::10 443', { backends: ['fd00::11'] }),
  ],
  { lists: [block('blocked', '198.51.100.66')], policy: { default: 'drop', unparsed: 'drop' } },
)
const toVip = (...layers: readonly Layer[]): Uint8Array =>
  packet(ethernet(), ipv4({ destination: '192.0.2.10' }), ...layers)

test('a packet to a VIP that cannot be parsed meets policy.unparsed, and a large datagram the MTU', async () => {
  await plane.loadState(SERVED)
  const web = { destination: 443 }
  const large = packet(
    ethernet(),
    ipv4({ destination: '192.0.2.10', totalLength: 0, dontFragment: true }),
    tcp(web),
    raw(LARGE),
  )
  const frames = [
    [toVip(tcp(web)), 'balanced-away'],
    [toVip(tcp(web), raw(30)).subarray(0, 70), 'malformed-drop'],
    [large, 'too-big'],
  ] as const
  for (const [frame, reason] of frames) {
    expect(judge(SERVED, factsOf(frame)).reason).toBe(reason)
    expect(await reasonOf(frame)).toBe(reason)
  }
})

test('headers that do not fit into the linear part are judged by the filter alone', async () => {
  const passing = { ...SERVED, policy: { ...DEFAULT_POLICY, flows: 1024 } }
  // More options than the linear part of any test packet holds.
  const options = [hopByHop({ size: 2048 }), destinationOptions({ size: 2048 })]
  const frame = packet(ethernet(), ipv6({ destination: '2001:db8:f::10' }), ...options, tcp({ destination: 443 }))
  await plane.loadState(passing)
  expect(await reasonOf(frame)).toBe('nonlinear')
  await plane.loadState(SERVED)
  expect(await reasonOf(frame)).toBe('default-drop')
})

test('test runs count nowhere, with metadata even if lo is an interface of the file', async () => {
  await plane.loadState(BLOCKED)
  for (const slot of [0, SLOT, 63]) await plane.reset(slot, [0, 1])
  const frame = packet(ethernet(), ipv4(), udp())
  const verdicts = []
  for (const attached of [0, SLOT]) {
    await plane.attachTestRuns(attached)
    const runs = [0, SLOT, 63].map((slot) => ({ frame, arrival: { ifindex: 7, slot, flags: 0 } }))
    verdicts.push(...(await plane.run(attached === 0 ? [{ frame }, ...runs] : runs, 'filter')))
  }
  await plane.attachTestRuns(0)
  expect(verdicts.map(({ verdict }) => verdict)).toEqual(Array.from({ length: 7 }, () => 'drop'))
  for (const slot of [0, SLOT, 63]) expect(await plane.reasons(slot)).toEqual({})
  expect(await plane.lists([0])).toEqual([{ packets: 0, bytes: 0 }])
})

test('without metadata, packets on lo are traffic if lo is an interface of the file', async () => {
  await plane.loadState(BLOCKED)
  await plane.reset(SLOT, [0, 1])
  await plane.attachTestRuns(SLOT)
  const frame = packet(ethernet(), ipv4(), udp())
  await plane.run([{ frame }], 'filter')
  await plane.attachTestRuns(0)
  expect(await plane.reasons(SLOT)).toEqual({ blocklist: { packets: 1, bytes: frame.length } })
  expect(await plane.lists([0])).toEqual([{ packets: 1, bytes: frame.length }])
})

/** Behind tags without a VLAN number, which the kernel removes; the first word of the second one begins like IPv6. */
const TAGGED_BARE: readonly (readonly Layer[])[] = [
  [vlan(0), ipv4(), udp()],
  [vlan(0x6000), ipv4(), udp()],
  [vlan(0x6000), ipv6({ source: '2001:db8::7' }), udp()],
  [vlan(0xe000), vlan(0, { type: 0x88a8 }), vlan(0x6000), ipv6({ source: '2001:db8::7' }), udp()],
  [...Array.from({ length: 15 }, () => vlan(0)), ipv4(), udp()],
  [vlan(0), ipv4({ source: '203.0.113.9' }), udp()],
]

test('without an Ethernet header, a flow label that equals an ethertype is no tag', async () => {
  const arrival = { ifindex: 7, slot: 0, flags: INTERFACE_FLAG.IP }
  await plane.loadState(policy('pass', block('b', '198.51.100.0/24 2001:db8::/64')))
  for (const label of [0x0800, 0x86dd, 0x8100, 0x88a8]) {
    const frame = packet(ethernet(), ipv6({ source: '2001:db8::7' }), udp()).slice(14)
    new DataView(frame.buffer).setUint16(2, label)
    expect((await plane.run([{ frame, arrival }]))[0]?.explanation?.reason).toBe('blocklist')
  }
})

test('without an Ethernet header, a packet gets the verdict that it has behind one', async () => {
  const bare = { ifindex: 7, slot: 0, flags: INTERFACE_FLAG.IP }
  const layers = [
    [ipv4(), udp()],
    [ipv4({ source: '192.0.2.1' }), tcp()],
    [ipv4({ source: '203.0.113.9', options: 40 }), udp({ source: 53 })],
    [ipv4({ source: '203.0.113.9', more: true }), udp({ source: 53 })],
    [ipv4({ source: '203.0.113.9', offset: 8 }), udp({ source: 53 })],
    [ipv6({ source: '2001:db8::7' }), udp()],
    [ipv6({ source: '2001:db8:1::7' }), hopByHop({ size: 16 }), destinationOptions(), udp({ source: 53 })],
    [
      ipv6({ source: '2001:db8:1::7' }),
      hopByHop({ size: 2048 }),
      destinationOptions({ size: 2048 }),
      udp({ source: 53 }),
    ],
    [ipv6({ source: '2001:db8:9::7' }), udp(), raw(9000)],
    [ipv4({ ihl: 4 }), udp()],
    ...TAGGED_BARE,
  ]
  for (const state of [BLOCKED, policy('pass', block('b', '198.51.100.0/24 2001:db8::/64'))]) {
    await plane.loadState(state)
    const frames = layers.map((own) => packet(ethernet(), ...own))
    const behind = await plane.run(frames.map((frame) => ({ frame })))
    const plain = await plane.run(frames.map((frame) => ({ frame: frame.subarray(14), arrival: bare })))
    expect(plain.map(({ verdict, explanation }) => [verdict, explanation?.reason])).toEqual(
      behind.map(({ verdict, explanation }) => [verdict, explanation?.reason]),
    )
  }
})

test('without an Ethernet header, a packet of neither IP version is malformed', async () => {
  const arrival = { ifindex: 7, slot: 0, flags: INTERFACE_FLAG.IP }
  // An Ethernet frame too: its first byte is that of a MAC address.
  const others = [new Uint8Array(40), new Uint8Array(40).fill(0x55), packet(ethernet(), ipv4(), udp())]
  const runs = others.map((frame) => ({ frame, arrival }))
  await plane.loadState(BLOCKED)
  expect((await plane.run(runs)).map(({ explanation }) => explanation?.reason)).toEqual(
    others.map(() => 'malformed-drop'),
  )
  await plane.loadState(policy('pass', block('b', '198.51.100.0/24')))
  expect((await plane.run(runs)).map(({ explanation }) => explanation?.reason)).toEqual(others.map(() => 'malformed'))
})

test('without an Ethernet header, a packet to a VIP is not balanced', async () => {
  await plane.loadState(balancing([service('web', '192.0.2.10 80', { backends: ['10.0.0.1'] })]))
  const frame = packet(ethernet(), ipv4({ destination: '192.0.2.10' }), tcp({ destination: 80 }))
  const arrival = { ifindex: 7, slot: 0, flags: INTERFACE_FLAG.IP }
  const outcomes = await plane.run([{ frame }, { frame: frame.subarray(14), arrival }])
  expect(outcomes.map(({ explanation }) => explanation?.reason)).toEqual(['balanced-away', 'default-pass'])
})

test('a test run gets the verdict of the interface in its metadata', async () => {
  const lists = policy('pass', block('b', '198.51.100.0/24'))
  const filtering = { interface: 'eth0', modes: ['native'], roles: ['filter'] } as const
  const balancing = { interface: 'eth1', modes: ['native'], roles: ['balance'] } as const
  const interfaces = new Map([filtering, balancing].map((one) => [one.interface, one]))
  await plane.load(imageOf({ ...lists, interfaces }))
  const frame = packet(ethernet(), ipv4(), udp())
  const runs = [0, 1, 2].map((slot) => ({ frame, arrival: { ifindex: 7, slot, flags: 0 } }))
  const verdicts = (await plane.run(runs, 'filter')).map(({ verdict }) => verdict)
  expect(verdicts).toEqual(['drop', 'drop', 'pass'])
})

test('explain counts nothing, attached or not', async () => {
  await plane.loadState(BLOCKED)
  await plane.reset(0, [0, 1])
  await plane.reset(SLOT, [0, 1])
  await plane.attachTestRuns(SLOT)
  expect(await reasonOf(packet(ethernet(), ipv4(), udp()))).toBe('blocklist')
  await plane.attachTestRuns(0)
  expect(await plane.reasons(SLOT)).toEqual({})
  expect(await plane.reasons(0)).toEqual({})
  expect(await plane.lists([0])).toEqual([{ packets: 0, bytes: 0 }])
})

test('explain reports class, list and scope, and leaves the rest of the packet unchanged', async () => {
  const state = policy('pass', allow('a', '192.0.2.0/24'), block('b', '198.51.100.0/24', ['198.51.100.0/24', scope(6)]))
  await plane.loadState(state)
  const frame = packet(ethernet(), ipv4(), tcp(), raw(5))
  const [outcome] = await plane.run([{ frame }])
  expect(outcome).toMatchObject({ verdict: 'drop', explanation: { reason: 'blocklist', list: 1, scope: 1 } })
  expect(outcome?.explanation?.class).toBeGreaterThan(0)
  expect(outcome?.output.subarray(explanationCodec.size)).toEqual(frame.subarray(explanationCodec.size))
  const [other] = await plane.run([{ frame: packet(ethernet(), ipv4({ source: '10.0.0.1' }), udp()) }])
  expect(other?.explanation).toEqual({
    reason: 'default-pass',
    class: 0,
    list: NONE,
    scope: NONE,
    service: NONE,
    backend: NONE,
    rate_limit: NONE,
    rate_used: 0,
  })
})

test('the filter does not change the packet', async () => {
  await plane.loadState(BLOCKED)
  const frame = packet(ethernet(), vlan(7), ipv6(), destinationOptions(), udp())
  const [outcome] = await plane.run([{ frame }], 'filter')
  expect(outcome?.output).toEqual(frame)
})

test('finds an interface at every probe position, and not behind the last', async () => {
  await plane.loadState(BLOCKED)
  const frame = packet(ethernet(), ipv4(), udp())
  const entry = new Uint8Array(interfaceEntryCodec.size)
  interfaceEntryCodec.encode({ ifindex: TEST_IFINDEX, slot: SLOT, flags: 0 }, new DataView(entry.buffer))
  const found = []
  for (let probe = 0; probe <= INTERFACE_PROBES; probe++) {
    const key = (TEST_IFINDEX + probe) % INTERFACE_INDEX_SIZE
    await plane.reset(SLOT, [])
    await plane.setIndex(key, entry)
    await plane.run([{ frame }], 'filter')
    await plane.setIndex(key, new Uint8Array(entry.length))
    found.push((await plane.reasons(SLOT)).blocklist?.packets ?? 0)
  }
  expect(found).toEqual([...Array.from({ length: INTERFACE_PROBES }, () => 1), 0])
})

test('every rule of the longest class applies', async () => {
  // Sixteen source ports by sixteen destination ports.
  const ports = (first: number): number[] => Array.from({ length: 16 }, (_, i) => first + i * 2)
  const wide = scope(17, { source: ports(1000), destination: ports(2000) })
  const state = policy('pass', block('wide', ['198.51.100.0/24', wide]))
  expect(wide.sourcePorts.length * wide.destinationPorts.length).toBe(CLASS_RULES)
  await plane.loadState(state)
  const runs = ports(1000).flatMap((source) =>
    ports(2000).map((destination) => ({ frame: packet(ethernet(), ipv4(), udp({ source, destination })) })),
  )
  const verdicts = (await plane.run(runs)).map(({ verdict }) => verdict)
  expect(verdicts).toEqual(runs.map(() => 'drop'))
  const between = { frame: packet(ethernet(), ipv4(), udp({ source: 1001, destination: 2000 })) }
  expect((await plane.run([between])).map(({ verdict }) => verdict)).toEqual(['pass'])
})

test('many lists over one address each count once', async () => {
  const lists = Array.from({ length: 100 }, (_, i) =>
    block(`list-${String(i).padStart(3, '0')}`, ['198.51.100.0/24', ANY], ['198.51.100.0/25', scope(17)]),
  )
  const state = policy('pass', ...lists)
  const slots = [...slotsOf(state).values()]
  await plane.loadState(state)
  await plane.reset(SLOT, slots)
  await plane.attachTestRuns(SLOT)
  const frame = packet(ethernet(), ipv4(), udp())
  await plane.run([{ frame }], 'filter')
  await plane.attachTestRuns(0)
  expect(await plane.lists(slots)).toEqual(slots.map(() => ({ packets: 1, bytes: frame.length })))
})

test('a plain class counts its list, and gives the verdict and scope of its rule; without the mark the rule decides', async () => {
  const state = policy('pass', block('net', ['198.51.100.0/24', ANY]), allow('net6', ['2001:db8::/32', ANY]))
  const slots = [...slotsOf(state).values()]
  const frames = [
    packet(ethernet(), ipv4(), udp()),
    packet(ethernet(), vlan(7), ipv4(), udp()),
    packet(ethernet(), ipv6(), udp()),
  ]
  const marked = imageOf(state)
  const unmarked = marked.slice()
  const view = new DataView(unmarked.buffer)
  const { classes } = settingsCodec.decode(view)
  for (let number = 0; number < LINE_SIZE / classCodec.size; number++) {
    const at = classes * LINE_SIZE + number * classCodec.size
    classCodec.encode({ ...classCodec.decode(view, at), plain: 0 }, view, at)
  }
  expect(unmarked).not.toEqual(marked)
  const seen = []
  for (const image of [marked, unmarked]) {
    await plane.load(image)
    await plane.reset(SLOT, slots)
    const explained = await plane.run(frames.map((frame) => ({ frame })))
    await plane.attachTestRuns(SLOT)
    const judged = await plane.run(
      frames.map((frame) => ({ frame })),
      'filter',
    )
    await plane.attachTestRuns(0)
    seen.push({ explained, verdicts: judged.map(({ verdict }) => verdict), lists: await plane.lists(slots) })
  }
  expect(seen[0]?.verdicts).toEqual(['drop', 'drop', 'pass'])
  expect(seen[0]?.lists.map(({ packets }) => packets)).toEqual([2, 1])
  expect(seen[0]).toEqual(seen[1])
})

test('a class or rule beyond the image passes, and counts as internal error', async () => {
  // A plain class decides without its rule.
  const scoped = policy('pass', block('scoped', ['198.51.100.0/24', scope(17)]))
  for (const [field, state] of [
    ['classes', BLOCKED],
    ['classes', scoped],
    ['rules', scoped],
  ] as const) {
    const image = imageOf(state)
    const view = new DataView(image.buffer, image.byteOffset)
    const settings = settingsCodec.decode(view)
    settingsCodec.encode({ ...settings, [field]: image.length / LINE_SIZE }, view)
    await plane.load(image)
    const outcomes = await plane.run([{ frame: packet(ethernet(), ipv4(), udp()) }])
    expect(outcomes).toMatchObject([{ verdict: 'pass', explanation: { reason: 'internal' } }])
  }
})
