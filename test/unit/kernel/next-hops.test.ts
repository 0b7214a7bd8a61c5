// Routes and neighbours from captured output of iproute2 6.1, and the next hops made of them.
import { describe, expect, test } from 'vitest'
import { plainMac } from '../../../src/kernel/host/links.ts'
import { neighboursOf } from '../../../src/kernel/host/neighbours.ts'
import { foundRoutes, hopOf, routeOf } from '../../../src/kernel/host/next-hops.ts'
import { pairResults } from '../../../src/kernel/tools/ip.ts'
import { link } from '../../support/states.ts'

const STDOUT = `[{"dst":"10.0.0.11","dev":"eth1","prefsrc":"10.0.0.1","flags":[],"uid":0,"cache":[]}]
[{"type":"local","dst":"10.0.0.1","dev":"lo","prefsrc":"10.0.0.1","flags":[],"uid":0,"cache":["local"]}]
[{"dst":"172.20.0.1","gateway":"10.0.0.11","dev":"eth1","prefsrc":"10.0.0.1","flags":[],"uid":0,"cache":[]}]
[{"dst":"172.21.0.1","via":{"family":"inet6","host":"2001:db8::11"},"dev":"eth1","prefsrc":"10.0.0.1","flags":[],"uid":0,"cache":[]}]
[{"dst":"172.22.0.1","gateway":"10.0.0.11","dev":"eth1","prefsrc":"10.0.0.1","flags":[],"uid":0,"cache":[],"metrics":[{"mtu":1400}]}]
[{"dst":"2001:db8:9::1","from":"::","gateway":"2001:db8::11","dev":"eth1","prefsrc":"2001:db8::1","metric":1024,"flags":[],"pref":"medium"}]
[{"type":"broadcast","dst":"10.0.0.255","dev":"eth1","prefsrc":"10.0.0.1","flags":[],"uid":0,"cache":["local","brd"]}]
`
const STDERR = `RTNETLINK answers: Network is unreachable
Command failed -:2
RTNETLINK answers: Invalid argument
Command failed -:4
RTNETLINK answers: No route to host
Command failed -:6
RTNETLINK answers: No buffer space available
Command failed -:8
`

describe('a batch of ip', () => {
  const results = pairResults(11, STDOUT, STDERR, foundRoutes)

  test('returns the result or the error of each line', () => {
    expect(results.map(({ error }) => error)).toEqual([
      undefined,
      'Network is unreachable',
      undefined,
      'Invalid argument',
      undefined,
      'No route to host',
      undefined,
      'No buffer space available',
      undefined,
      undefined,
      undefined,
    ])
    expect(results[2]?.output).toMatchObject([{ type: 'local' }])
  })

  test('gives routes: direct, through a gateway of either family, with an MTU, or none', () => {
    expect(results.map((result) => routeOf('10.0.0.11', result))).toEqual([
      { device: 'eth1', neighbour: '10.0.0.11', mtu: undefined },
      'no route',
      'the address belongs to this host',
      'the route is a blackhole',
      { device: 'eth1', neighbour: '10.0.0.11', mtu: undefined },
      'the route is unreachable',
      { device: 'eth1', neighbour: '2001:db8::11', mtu: undefined },
      'no route: No buffer space available',
      { device: 'eth1', neighbour: '10.0.0.11', mtu: 1400 },
      { device: 'eth1', neighbour: '2001:db8::11', mtu: undefined },
      'the route is of type broadcast',
    ])
  })
})

test('stale neighbours count as known, failed ones do not', () => {
  const states = ['REACHABLE', 'STALE', 'DELAY', 'PERMANENT', 'FAILED', 'INCOMPLETE']
  const entries = states.map((state, i) => ({
    dst: `10.0.0.${i}`,
    dev: 'eth1',
    lladdr: '02:00:5e:10:00:01',
    state: [state],
  }))
  const { macs, stale } = neighboursOf([...entries, { dst: '10.0.0.9', dev: 'eth1', state: ['INCOMPLETE'] }])
  expect([...macs.keys()]).toEqual(['eth1 10.0.0.0', 'eth1 10.0.0.1', 'eth1 10.0.0.2', 'eth1 10.0.0.3'])
  expect(stale).toEqual(['eth1 10.0.0.1'])
})

describe('a next hop', () => {
  const links = new Map(
    [
      link('eth1', { ifindex: 3, mtu: 9000 }),
      link('eth1.100', {
        ifindex: 9,
        kind: 'vlan',
        mtu: 1496,
        mac: '020000000100',
        vlan: { parent: 'eth1', tag: 100 },
      }),
      link('eth1.100.7', { kind: 'vlan', vlan: { parent: 'eth1.100', tag: 7 } }),
      link('eth9.5', { kind: 'vlan', vlan: { parent: 'eth9', tag: 5 } }),
      link('qinq', { kind: 'vlan', vlan: undefined }),
      link('down', { up: false }),
      link('tun0', { kind: 'tun', mac: '' }),
      link('big', { mtu: 65536 }),
    ].map((one) => [one.name, one]),
  )
  const to = (device: string, mtu?: number) => hopOf({ device, neighbour: '10.0.0.11', mtu }, '02005e100001', links)

  test('is the neighbour on the interface of the route', () => {
    expect(to('eth1')).toEqual({
      interface: 'eth1',
      ifindex: 3,
      mac: '02005e100001',
      sourceMac: '02005e1000fe',
      vlan: 0,
      mtu: 9000,
    })
  })

  test('on a VLAN interface is on its parent, with the tag and the MAC of the VLAN interface', () => {
    expect(to('eth1.100')).toMatchObject({
      interface: 'eth1',
      ifindex: 3,
      sourceMac: '020000000100',
      vlan: 100,
      mtu: 1496,
    })
  })

  test('has at most the MTU of the route, and at most a 16-bit length', () => {
    expect(to('eth1', 1400)).toMatchObject({ mtu: 1400 })
    expect(to('eth1', 9216)).toMatchObject({ mtu: 9000 })
    expect(to('big')).toMatchObject({ mtu: 65535 })
  })

  test.each([
    ['nowhere', 'the route leads to nowhere, which does not exist'],
    ['down', 'down is down'],
    ['tun0', 'frames on tun0 have no MAC addresses'],
    ['eth1.100.7', 'eth1.100.7 has two VLAN tags'],
    ['eth9.5', 'the interface below eth9.5 does not exist, or its tag is not 802.1Q'],
    ['qinq', 'the interface below qinq does not exist, or its tag is not 802.1Q'],
  ])('does not exist on %s', (device, why) => {
    expect(to(device)).toBe(why)
  })
})

test('a MAC address becomes plain hex digits; the address of a tunnel is not one', () => {
  expect(plainMac('02:00:5e:10:00:01')).toBe('02005e100001')
  expect(plainMac('192.0.2.1')).toBe('')
  expect(plainMac('00:00:00:00:fe:80:00:00:00:00:00:00:00:00:00:00:00:00:00:01')).toBe('')
  expect(plainMac(undefined)).toBe('')
})
