// The devices stacked on an interface, and the MAC addresses of frames for this host.

import { describe, expect, test } from 'vitest'
import { stackRecord } from '../../../src/kernel/observe/records.ts'
import type { Link } from '../../../src/model/live.ts'
import { NO_STACK, stackFor, stackOf } from '../../../src/model/stack.ts'
import { service } from '../../support/services.ts'
import { ANY, link, list, scoped, state } from '../../support/states.ts'

const mac = (number: number): string => `02005e1000${number.toString(16).padStart(2, '0')}`
const device = (name: string, ifindex: number, facts: Partial<Link> = {}): Link =>
  link(name, { ifindex, mac: mac(ifindex), ...facts })
const linksOf = (...links: readonly Link[]): Map<string, Link> => new Map(links.map((one) => [one.name, one]))
const stackIn = (name: string, ...links: readonly Link[]) => {
  const all = linksOf(...links)
  return stackOf(all.get(name) as Link, all)
}
const vlan = (parent: string, tag: number): Partial<Link> => ({ kind: 'vlan', below: parent, vlan: { parent, tag } })

describe('a stack', () => {
  test('is the interface alone where nothing is on it', () => {
    // A veth device names its peer like a device below.
    const links = [
      device('eth0', 2, { kind: 'physical' }),
      device('v0', 3, { below: 'v1' }),
      device('v1', 4, { below: 'v0' }),
    ]
    for (const [name, number] of [
      ['eth0', 2],
      ['v0', 3],
      ['v1', 4],
    ] as const)
      expect(stackIn(name, ...links)).toEqual({ macs: [mac(number)], above: [] })
  })

  test('has the virtual MAC address of VRRP on a macvlan device', () => {
    const vrrp = device('vrrp.51', 5, { kind: 'macvlan', below: 'eth0', mac: '00005e000133' })
    const vm = device('tap0', 6, { kind: 'macvtap', below: 'eth0' })
    expect(stackIn('eth0', device('eth0', 2), vrrp, vm)).toEqual({ macs: [mac(2), '00005e000133'], above: [5] })
  })

  test('follows VLAN devices, bridges and what is on them', () => {
    const links = [
      device('eth0', 2, { master: 'br0' }),
      device('eth1', 3, { master: 'br0' }),
      device('br0', 4, { kind: 'bridge' }),
      device('br0.7', 5, { ...vlan('br0', 7), mac: mac(4) }),
      device('eth0.9', 6, vlan('eth0', 9)),
      device('mv0', 7, { kind: 'macvlan', below: 'eth0.9' }),
      device('service', 8, { kind: 'vlan', below: 'eth0' }),
    ]
    // A next hop on eth0.9 or br0.7 names eth0 or br0 and a tag; one on a device of 802.1ad does not.
    expect(stackIn('eth0', ...links)).toEqual({ macs: [2, 6, 8, 4, 7].map(mac), above: [8, 4, 7] })
  })

  test('of a bond has the addresses of its members, and of a member that of its bond', () => {
    const links = [
      device('bond0', 10, { kind: 'bond' }),
      device('eth0', 2, { kind: 'physical', master: 'bond0' }),
      device('eth1', 3, { kind: 'physical', master: 'bond0' }),
    ]
    expect(stackIn('bond0', ...links)).toEqual({ macs: [10, 2, 3].map(mac), above: [] })
    expect(stackIn('eth0', ...links)).toEqual({ macs: [2, 10].map(mac), above: [10] })
  })

  test('has the ports of an Open vSwitch bridge, and not its VRF', () => {
    const links = [
      device('eth0', 2, { master: 'ovs-system' }),
      device('ovs-system', 3, { kind: 'openvswitch' }),
      device('br-ex', 4, { kind: 'openvswitch' }),
      device('eth1', 5, { master: 'blue' }),
      device('blue', 6, { kind: 'vrf' }),
    ]
    expect(stackIn('eth0', ...links)).toEqual({ macs: [2, 3, 4].map(mac), above: [3, 4] })
    expect(stackIn('eth1', ...links)).toEqual({ macs: [mac(5)], above: [] })
  })

  test('is unknown on devices without MAC addresses', () => {
    const links = [
      device('lo', 1, { kind: 'loopback', mac: '000000000000' }),
      device('tun0', 2, { kind: 'tun', mac: '' }),
    ]
    for (const name of ['lo', 'tun0']) expect(stackIn(name, ...links)).toEqual(NO_STACK)
  })

  test('ends in a loop of masters', () => {
    const loop = [device('a', 2, { master: 'b' }), device('b', 3, { master: 'a' })]
    expect(stackIn('a', ...loop)).toEqual({ macs: [2, 3].map(mac), above: [3] })
  })
})

test('interfaces with entries for packets without a socket have use for it', () => {
  const links = linksOf(device('eth0', 2), device('eth1', 3))
  const only = scoped({ ...ANY, protocol: 6, socket: 'none', interfaces: ['eth1'] }, '192.0.2.0/24')
  const asking = state({
    interfaces: { eth0: ['native'], eth1: ['native'] },
    lists: [list('blocklist', 'stray', only)],
  })
  expect(stackFor(asking, 'eth0', links)).toEqual(NO_STACK)
  expect(stackFor(asking, 'eth1', links)).toEqual({ macs: [mac(3)], above: [] })
})

test('only interfaces that balance have use for it', () => {
  const links = linksOf(device('eth0', 2), device('eth1', 3))
  const web = service('web', '192.0.2.10 80', { backends: ['10.0.0.11'] })
  const balancing = state({ interfaces: { eth0: ['native'], eth1: ['native'] }, services: [web] })
  expect(stackFor(balancing, 'eth0', links)).toEqual({ macs: [mac(2)], above: [] })
  const eth1 = { interface: 'eth1', modes: ['native'], roles: ['filter'] } as const
  const filtering = { ...balancing, interfaces: new Map(balancing.interfaces).set('eth1', eth1) }
  expect(stackFor(filtering, 'eth1', links)).toEqual(NO_STACK)
  expect(stackFor({ ...balancing, services: new Map() }, 'eth0', links)).toEqual(NO_STACK)
  expect(stackFor(balancing, 'eth9', links)).toEqual(NO_STACK)
})

test('a record holds the bytes of the addresses as in a frame, and is full where there are more', () => {
  const { mac: macs, above } = stackRecord({ macs: [mac(2)], above: [7] })
  const bytes = new Uint8Array(BigUint64Array.of(macs[0] as bigint).buffer)
  expect(Buffer.from(bytes).toString('hex')).toBe(`${mac(2)}0000`)
  expect([macs.slice(1), above]).toEqual([Array(9).fill(0n), [7, ...Array(11).fill(0)]])
  const full = stackRecord({
    macs: Array.from({ length: 12 }, (_, i) => mac(i)),
    above: Array.from({ length: 13 }, (_, i) => i + 1),
  })
  expect([full.mac.length, full.mac.every((one) => one !== 0n)]).toEqual([10, true])
  expect([full.above.length, full.above.at(-1)]).toEqual([12, 12])
})
