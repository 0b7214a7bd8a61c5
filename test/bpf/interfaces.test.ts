// Lists that are limited to interfaces: every packet on every interface, and on one that is none of ours. Compares the
// programs and the model with the expected verdict, and the counters of the lists.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { ANYWHERE } from '../../src/abi/packet.ts'
import { EVERY_ROLE, type Scope } from '../../src/model/state.ts'
import type { ReasonName } from '../../src/report/reason.ts'
import { judge, TEST_INGRESS } from '../../src/semantics/judge.ts'
import { DataPlane, slotsOf } from '../support/bpf.ts'
import { allow, block, policy, scope } from '../support/lists.ts'
import { factsOf } from '../support/model.ts'
import { ethernet, ipv4, ipv6, packet, tcp } from '../support/packets.ts'

const on = (interfaces: readonly string[], of: Scope = scope('any')): Scope => ({ ...of, interfaces })

const attachment = (name: string) => [name, { interface: name, modes: ['native'], roles: EVERY_ROLE }] as const
const STATE = {
  ...policy(
    'pass',
    allow('friends', ['192.0.2.7', on(['lan'])]),
    block('bad', ['192.0.2.0/24', on(['lan', 'wan'])], ['2001:db8::/32', on(['wan'])]),
    block('ssh', ['198.51.100.0/24', on(['wan'], scope(6, { destination: [22] }))], '198.51.100.9'),
    block('elsewhere', ['203.0.113.0/24', on(['gone'])]),
  ),
  interfaces: new Map([attachment('lan'), attachment('wan'), attachment('dmz')]),
}

/** Slots of the interfaces, in the order of names; 0 = none of ours. */
const SLOT = { dmz: 1, lan: 2, wan: 3, other: 0 } as const
type Interface = keyof typeof SLOT

const v4 = (source: string, port = 443): Uint8Array =>
  packet(ethernet(), ipv4({ source, destination: '192.0.2.200' }), tcp({ source: 40_000, destination: port }))
const v6 = (source: string): Uint8Array =>
  packet(ethernet(), ipv6({ source, destination: '2001:db8:9::1' }), tcp({ source: 40_000, destination: 443 }))

type Expected = Readonly<Record<Interface, ReasonName>>
const everywhere = (reason: ReasonName): Expected => ({ dmz: reason, lan: reason, wan: reason, other: reason })

const PACKETS: readonly (readonly [name: string, frame: Uint8Array, expected: Expected])[] = [
  [
    'a source blocked on two interfaces',
    v4('192.0.2.1'),
    { lan: 'blocklist', wan: 'blocklist', dmz: 'default-pass', other: 'blocklist' },
  ],
  [
    'a source allowed on one of them',
    v4('192.0.2.7'),
    { lan: 'allowlist', wan: 'blocklist', dmz: 'default-pass', other: 'blocklist' },
  ],
  [
    'an IPv6 source blocked on one interface',
    v6('2001:db8::1'),
    { wan: 'blocklist', lan: 'default-pass', dmz: 'default-pass', other: 'blocklist' },
  ],
  [
    'a port blocked on one interface',
    v4('198.51.100.1', 22),
    { wan: 'blocklist', lan: 'default-pass', dmz: 'default-pass', other: 'blocklist' },
  ],
  ['another port', v4('198.51.100.1', 443), everywhere('default-pass')],
  ['a source that the list blocks everywhere too', v4('198.51.100.9', 22), everywhere('blocklist')],
  ['a source blocked on a missing interface', v4('203.0.113.1'), { ...everywhere('default-pass'), other: 'blocklist' }],
  ['a source in no list', v4('10.0.0.1'), everywhere('default-pass')],
]

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
  await plane.loadState(STATE)
})
afterAll(() => plane.close())

const ingressOf = (name: Interface) => ({ ...TEST_INGRESS, interface: name === 'other' ? undefined : name })

test.each(Object.keys(SLOT) as Interface[])('program and model give packets on %s their verdict', async (name) => {
  const expected = PACKETS.map(([title, , reasons]) => [title, reasons[name]])
  const modelled = PACKETS.map(([, frame]) => judge(STATE, factsOf(frame), {}, ingressOf(name)))
  expect(modelled.map(({ reason }, i) => [PACKETS[i]?.[0], reason])).toEqual(expected)
  const runs = PACKETS.map(([, frame]) => ({ frame, arrival: { ...ANYWHERE, slot: SLOT[name] } }))
  const explained = await plane.run(runs)
  expect(explained.map(({ explanation }, i) => [PACKETS[i]?.[0], explanation?.reason])).toEqual(expected)
  const judged = await plane.run(runs, 'filter')
  expect(judged.map(({ verdict }) => verdict)).toEqual(modelled.map(({ verdict }) => verdict))
})

test.each(['dmz', 'lan', 'wan'] as const)('lists count the packets that they decide on %s', async (name) => {
  const slots = slotsOf(STATE)
  await plane.reset(SLOT[name], [...slots.values()])
  await plane.attachTestRuns(SLOT[name])
  await plane.run(
    PACKETS.map(([, frame]) => ({ frame })),
    'filter',
  )
  await plane.attachTestRuns(0)
  const counted = PACKETS.flatMap(([, frame]) => judge(STATE, factsOf(frame), {}, ingressOf(name)).lists)
  const expected = [...slots.keys()].map((list) => counted.filter((other) => other === list).length)
  const counts = await plane.lists([...slots.values()])
  expect(counts.map(({ packets }) => packets)).toEqual(expected)
  expect(counted.length).toBeGreaterThan(0)
})
